//! Prefetch: what a pull foreseeably reads is one query, and the results are kept until they are
//! needed. A pull has about ten queries, each of which would cost a round trip.
//!
//! A read transaction has one snapshot, so a prefetched result stays valid. In a write transaction
//! each result is used once, while the lock on the user keeps other requests of that user out.

use std::collections::HashMap;
use std::sync::LazyLock;

use rejoin_protocol::Value;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::changelog::PageEntry;
use super::connection::{Connection, Params, Sql};
use super::records::{self, kept};
use super::rows::{CHUNK, RowQuery};
use super::{FINGERPRINT, Known, changelog, policies};
use crate::error::Fault;
use crate::model::{Client, Grant, ReadScope, Table};
use crate::store::{FurtherBuckets, ReadHint};

type Result<T> = std::result::Result<T, tokio_postgres::Error>;

/// A page of entries, by the arguments of the query.
type Span = (i64, Vec<String>, usize);

/// Prefetched results; anything else is queried when it is needed.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The user of the transaction, and the user's further buckets.
    pub(super) acting: Option<(String, FurtherBuckets)>,
    client: Option<(String, String, Client)>,
    grants: Option<(String, Vec<Grant>)>,
    tags: HashMap<i64, i64>,
    entries: Option<(Span, Vec<PageEntry>)>,
    images: HashMap<i64, Images>,
    /// The arguments of the expected call of `behind` after the next images: position and buckets.
    pub(super) coming: Option<(i64, Vec<String>)>,
    behind: Option<(i64, Vec<String>, i64)>,
}

/// Rows of one table that were queried by key.
#[derive(Debug)]
struct Images {
    keys: Vec<Option<Value>>,
    scope: ReadScope,
    rows: Vec<Row>,
}

impl Answers {
    pub(super) fn client(&mut self, user: &str, client_id: &str) -> Option<Client> {
        let is_it = |(owner, id, _): &(String, String, _)| owner == user && id == client_id;
        self.client.take_if(|kept| is_it(kept)).map(|(_, _, client)| client)
    }

    pub(super) fn grants(&self, user: &str) -> Option<Vec<Grant>> {
        let grants = self.grants.as_ref().filter(|(owner, _)| owner == user);
        grants.map(|(_, grants)| grants.clone())
    }

    pub(super) fn forget_grants(&mut self) {
        self.grants = None;
    }

    pub(super) fn keep_grants(&mut self, user: &str, grants: &[Grant]) {
        self.grants = Some((user.to_owned(), grants.to_vec()));
    }

    pub(super) fn tag(&self, position: i64) -> Option<i64> {
        self.tags.get(&position).copied()
    }

    /// Keeps the tag of a position that another result contained.
    pub(super) fn keep_tag(&mut self, position: i64, tag: i64) {
        self.tags.insert(position, tag);
    }

    pub(super) fn entries(
        &mut self,
        position: i64,
        buckets: &[String],
        limit: usize,
    ) -> Option<Vec<PageEntry>> {
        let is_it = |(from, of, most): &Span| *from == position && of == buckets && *most == limit;
        self.entries.take_if(|(span, _)| is_it(span)).map(|(_, rows)| rows)
    }

    pub(super) fn behind(&mut self, position: i64, buckets: &[String]) -> Option<i64> {
        let is_it = |(at, of, _): &(i64, Vec<String>, i64)| *at == position && of == buckets;
        self.behind.take_if(|kept| is_it(kept)).map(|(_, _, many)| many)
    }

    pub(super) fn keep_behind(&mut self, (position, buckets): (i64, Vec<String>), rows: &[Row]) {
        self.behind = Some((position, buckets, changelog::how_many(rows)));
    }

    pub(super) fn images(
        &mut self,
        table: &Table,
        keys: &[Option<Value>],
        scope: &ReadScope,
    ) -> Option<Vec<Row>> {
        let images = self.images.remove(&table.number)?;
        (images.keys == keys && images.scope == *scope).then_some(images.rows)
    }
}

/// The kind of transaction that prefetches.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransactionKind {
    /// It sets the database's user.
    pub(super) acts: bool,
    /// It writes: other requests of this user wait until it ends.
    pub(super) holds: bool,
}

/// Runs [`STATE`] with these parameters and other queries, those that lock before it, in one round
/// trip. Returns the rows of [`STATE`].
type Send<'s> =
    &'s dyn Fn(Params<'_>, &[(Sql<'_>, Params<'_>)]) -> std::result::Result<Vec<Row>, Fault>;

/// What most requests read first, as one row: a statement of its own for each part costs more than
/// the parts. The device, the log, the tags, the user's buckets, and a page of entries.
pub(super) static STATE: LazyLock<String> = LazyLock::new(|| {
    let (log, page) = (changelog::LIFE, changelog::PAGE);
    let client = records::CLIENT.replace("$2", "$5").replace("$1", "$4");
    let (grants, tags) = (records::GRANTS.replace("$1", "$4"), changelog::TAGS.replace("$1", "$6"));
    let arrays = changelog::PAGE_ARRAYS;
    format!(
        "SELECT client.*, log.*, tags.*, {grants}, page.* FROM ({log}) AS log
         CROSS JOIN (SELECT array_agg(t.position), array_agg(t.tag) FROM ({tags}) AS t(position, tag)) AS tags
         CROSS JOIN (SELECT {arrays} FROM ({page}) AS p) AS page
         LEFT JOIN ({client}) AS client ON true"
    )
});

/// The same, and as the last column the fingerprint of the tables, to begin a read with.
pub(super) static BEGIN: LazyLock<String> = LazyLock::new(|| {
    let (state, fingerprint) = (STATE.as_str(), FINGERPRINT.replace("$1", "$7"));
    format!("SELECT state.*, ({fingerprint}) FROM ({state}) AS state")
});

/// Where the parts of its row begin, after the device.
const LOG: usize = 13;
const TAGS: usize = LOG + 6;
const GRANTS: usize = TAGS + 2;
const ENTRIES: usize = GRANTS + 1;

/// Sends what is expected to be read in one round trip.
pub(super) fn ask(
    send: Send<'_>,
    hint: &ReadHint<'_>,
    way: TransactionKind,
    answers: &mut Answers,
) -> std::result::Result<changelog::Ends, Fault> {
    let (user, client_id) = (kept(hint.user), kept(hint.client_id));
    let (user, client_id) = (user.as_ref(), client_id.as_ref());
    let (position, buckets, limit) = hint.entries.unwrap_or((0, &[], 0));
    let (possible, most) = (changelog::possible(buckets), changelog::most(limit));
    let nothing: Vec<&str> = Vec::new();
    let untyped = |text| Sql { text, types: &[] };
    let acts: [&(dyn ToSql + Sync); 3] = [&user, &nothing, &nothing];
    let holder: [&(dyn ToSql + Sync); 1] = [&user];
    let state: [&(dyn ToSql + Sync); 6] =
        [&position, &possible, &most, &user, &client_id, &hint.positions];
    let mut asked: Vec<(Sql<'_>, Params<'_>)> = Vec::new();
    if way.acts {
        asked.push((untyped(policies::ACT_FOR), &acts));
        answers.acting = Some((hint.user.to_owned(), FurtherBuckets::default()));
    }
    if way.holds {
        asked.push((untyped(records::HOLD_USER), &holder));
    }
    let found = send(&state, &asked)?;
    let row = found.first();
    let ends = changelog::ends(row, LOG);
    answers.tags = ends.tag.map(|tag| (ends.log.head, tag)).into_iter().collect();
    let Some(row) = row else { return Ok(ends) };
    let client = row.get::<_, Option<&str>>(0).map(|_| records::of_row(row));
    answers.client = client.map(|client| (hint.user.to_owned(), hint.client_id.to_owned(), client));
    answers.grants = Some((hint.user.to_owned(), records::grants_of(row, GRANTS).collect()));
    let positions = row.get::<_, Option<Vec<i64>>>(TAGS).unwrap_or_default();
    let tags = row.get::<_, Option<Vec<Option<i64>>>>(TAGS + 1).unwrap_or_default();
    let known = positions.into_iter().zip(tags);
    answers.tags.extend(known.filter_map(|(position, tag)| Some((position, tag?))));
    if hint.entries.is_some() {
        let page = changelog::page_of(row, ENTRIES);
        answers.entries = Some(((position, buckets.to_vec(), limit), page));
    }
    Ok(ends)
}

/// The query for [`Answers::coming`].
pub(super) const BEHIND: Sql<'static> = Sql { text: changelog::BEHIND, types: &[] };

/// Its parameters.
pub(super) fn of_behind(coming: Option<&(i64, Vec<String>)>) -> (i64, Vec<&str>) {
    coming.map_or((0, Vec::new()), |(position, buckets)| (*position, changelog::possible(buckets)))
}

/// Queries the images of several tables in one round trip, if there are not too many. As with a
/// chunk of one table, their size is checked afterwards.
pub(super) fn ask_images(
    connection: &Connection,
    known: &Known,
    named: &[(&Table, &[Option<Value>])],
    scope: &ReadScope,
    answers: &mut Answers,
) -> Result<()> {
    let keys: usize = named.iter().map(|(_, keys)| keys.len()).sum();
    if named.len() < 2 || keys > CHUNK {
        return Ok(());
    }
    let look = |table| RowQuery { connection, known, table };
    let questions: Vec<_> =
        named.iter().map(|(table, keys)| look(*table).question(keys, false)).collect();
    let (owners, buckets) = (super::rows::names(&scope.owners), super::rows::names(&scope.buckets));
    let params: Vec<[&(dyn ToSql + Sync); 4]> = questions
        .iter()
        .map(|question| -> [&(dyn ToSql + Sync); 4] {
            [&owners, &scope.global, &buckets, question.keys()]
        })
        .collect();
    let asked = questions.iter().zip(&params);
    let asked = asked.map(|(question, params)| (question.sql(), params.as_slice()));
    let coming = answers.coming.take();
    let (position, possible) = of_behind(coming.as_ref());
    let behind: [&(dyn ToSql + Sync); 2] = [&position, &possible];
    let also = coming.is_some().then_some((BEHIND, behind.as_slice()));
    let asked: Vec<(Sql<'_>, &[&(dyn ToSql + Sync)])> = asked.chain(also).collect();
    let mut found = connection.all(&asked)?;
    if let Some(coming) = coming {
        answers.keep_behind(coming, &found.pop().unwrap_or_default());
    }
    answers.images = named
        .iter()
        .zip(found)
        .map(|((table, keys), rows)| {
            (table.number, Images { keys: keys.to_vec(), scope: scope.clone(), rows })
        })
        .collect();
    Ok(())
}
