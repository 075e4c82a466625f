//! Reads and stores verdicts in batches.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connection::Connection;
use super::records::{kept, meant};
use crate::model::StoredVerdict;

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

pub(super) fn one(
    connection: &Connection,
    user: &str,
    mutation: &str,
) -> Result<Option<StoredVerdict>> {
    let row = connection
        .first(VERDICTS, &[&kept(user).as_ref(), &[kept(mutation).as_ref()].as_slice()])?;
    Ok(row.as_ref().map(|row| of_row(row).1))
}

/// The stored verdicts on these mutations, with 32 MiB of before-images at most: a request may repeat
/// a thousand mutations. The query orders by the primary key. Otherwise the
/// planner picks any index with the user while the table is small, and the session keeps that plan.
pub(super) const VERDICTS: &str =
    "SELECT v.attempt, v.hash, v.ending, v.client_id, v.seq, v.verdict,
       CASE WHEN sum(octet_length(v.displaced)) OVER (ROWS UNBOUNDED PRECEDING) <= 33554432 THEN v.displaced END,
       v.at, v.mutation_id
     FROM unnest($2::text[]) AS m(id) CROSS JOIN LATERAL (
       SELECT * FROM rejoin.verdict AS v WHERE v.user_id = $1 AND v.mutation_id >= m.id
       ORDER BY v.mutation_id LIMIT 1) AS v
     WHERE v.mutation_id = m.id";

/// A verdict and its mutation.
pub(super) fn of_row(row: &Row) -> (String, StoredVerdict) {
    let verdict = StoredVerdict {
        attempt: row.get(0),
        hash: meant(row.get(1)),
        ending: row.get(2),
        client_id: meant(row.get(3)),
        seq: row.get(4),
        verdict: row.get(5),
        displaced: row.get(6),
        at: row.get(7),
    };
    (meant(row.get(8)), verdict)
}

pub(super) fn put(
    connection: &Connection,
    user: &str,
    mutation: &str,
    verdict: &StoredVerdict,
) -> Result<()> {
    let verdicts = Verdicts::of([(mutation, verdict)].into_iter());
    connection.execute(PUT, &verdicts.params(&kept(user).as_ref())).map(drop)
}

/// Stores verdicts, at most one per mutation.
pub(super) const PUT: &str = "INSERT INTO rejoin.verdict(user_id, mutation_id, attempt, hash, ending, client_id,
    seq, verdict, displaced, at)
    SELECT $1::text, v.* FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[],
    $8::text[], $9::text[], $10::text[]) AS v
    ON CONFLICT(user_id, mutation_id) DO UPDATE SET attempt = excluded.attempt, hash = excluded.hash,
    ending = excluded.ending, client_id = excluded.client_id, seq = excluded.seq,
    verdict = excluded.verdict, displaced = excluded.displaced, at = excluded.at";

/// Verdicts, column by column.
#[derive(Default)]
pub(super) struct Verdicts<'v> {
    mutations: Vec<Cow<'v, str>>,
    attempts: Vec<i64>,
    hashes: Vec<Cow<'v, str>>,
    endings: Vec<&'v str>,
    clients: Vec<Cow<'v, str>>,
    seqs: Vec<i64>,
    texts: Vec<&'v str>,
    displaced: Vec<Option<&'v str>>,
    times: Vec<&'v str>,
}

impl<'v> Verdicts<'v> {
    pub(super) fn of(all: impl Iterator<Item = (&'v str, &'v StoredVerdict)>) -> Self {
        let mut verdicts = Self::default();
        for (mutation, verdict) in all {
            verdicts.mutations.push(kept(mutation));
            verdicts.attempts.push(verdict.attempt);
            verdicts.hashes.push(kept(&verdict.hash));
            verdicts.endings.push(&verdict.ending);
            verdicts.clients.push(kept(&verdict.client_id));
            verdicts.seqs.push(verdict.seq);
            verdicts.texts.push(&verdict.verdict);
            verdicts.displaced.push(verdict.displaced.as_deref());
            verdicts.times.push(&verdict.at);
        }
        verdicts
    }

    /// The parameters of [`PUT`] for this user.
    pub(super) fn params<'p>(
        &'p self,
        user: &'p (dyn ToSql + Sync),
    ) -> [&'p (dyn ToSql + Sync); 10] {
        [
            user,
            &self.mutations,
            &self.attempts,
            &self.hashes,
            &self.endings,
            &self.clients,
            &self.seqs,
            &self.texts,
            &self.displaced,
            &self.times,
        ]
    }
}
