//! The reference of a push: a connection that writes the same rows by prepared statements.

use std::sync::Barrier;

use anyhow::{Result, ensure};
use tokio_postgres::Statement;

use crate::cluster::Session;
use crate::speed::creates;

const INSERT: &str = "INSERT INTO floor(id, owner_id, title, body, rank, done, updated_at) \
    VALUES ($1, 'floor', $2, $3, $4, $5, now())";

/// A connection with its statements.
pub(crate) struct Floor {
    session: Session,
    insert: Statement,
}

impl Floor {
    pub(crate) fn to(url: &str) -> Result<Self> {
        let session = Session::to(url)?;
        let insert = session.wait(session.client.prepare(INSERT))?;
        Ok(Self { session, insert })
    }

    /// Inserts the rows of these batches, each batch in one transaction.
    pub(crate) fn insert_all(
        &self,
        what: &str,
        [batches, rows]: [usize; 2],
        barrier: &Barrier,
    ) -> Result<()> {
        let batches: Vec<Vec<String>> =
            (0..batches).map(|batch| creates(&format!("{what} {batch}"), rows).1).collect();
        let session = &self.session;
        barrier.wait();
        for keys in &batches {
            if rows > 1 {
                session.run("BEGIN")?;
            }
            for (number, key) in keys.iter().enumerate() {
                let (title, body) =
                    (format!("task {number}"), format!("what is to be done, {key}"));
                let rank = i64::try_from(number)?;
                let written = session.wait(
                    session.client.execute(&self.insert, &[key, &title, &body, &rank, &false]),
                )?;
                ensure!(written == 1, "{written} rows of {key}");
            }
            if rows > 1 {
                session.run("COMMIT")?;
            }
        }
        Ok(())
    }
}
