//! The reference of a push: a connection that writes the same rows by prepared statements.

use std::sync::Barrier;

use anyhow::{Result, ensure};
use tokio_postgres::Statement;

use crate::cluster::Session;
use crate::speed::creates;

const INSERT: &str = "INSERT INTO floor(id, owner_id, title, body, rank, done, updated_at) \
    VALUES ($1, 'floor', $2, $3, $4, $5, now())";

const UPDATE: &str = "UPDATE floor SET title = $2, body = $3, rank = $4, done = $5, \
    updated_at = now() WHERE id = $1";

/// A connection with its statements.
pub(crate) struct Floor {
    session: Session,
    insert: Statement,
    update: Statement,
}

impl Floor {
    pub(crate) fn to(url: &str) -> Result<Self> {
        let session = Session::to(url)?;
        let prepare = |sql| session.wait(session.client.prepare(sql));
        let (insert, update) = (prepare(INSERT)?, prepare(UPDATE)?);
        Ok(Self { session, insert, update })
    }

    /// Inserts the rows of these batches, each batch in one transaction.
    pub(crate) fn insert_all(&self, what: &str, size: [usize; 2], barrier: &Barrier) -> Result<()> {
        self.write_all(&self.insert, what, size, ("what is to be done", barrier))
    }

    /// Updates the same rows by key to this text, in the same transactions.
    pub(crate) fn update_all(
        &self,
        what: &str,
        size: [usize; 2],
        (text, barrier): (&str, &Barrier),
    ) -> Result<()> {
        self.write_all(&self.update, what, size, (text, barrier))
    }

    fn write_all(
        &self,
        statement: &Statement,
        what: &str,
        [batches, rows]: [usize; 2],
        (text, barrier): (&str, &Barrier),
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
                let (title, body) = (format!("task {number}"), format!("{text}, {key}"));
                let rank = i64::try_from(number)?;
                let written = session.wait(
                    session.client.execute(statement, &[key, &title, &body, &rank, &false]),
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
