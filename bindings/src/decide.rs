//! What an app decides of a mutation that is parked or waits.

use std::sync::Arc;

use rejoin_core::MutationId;

use crate::RejoinClient;
use crate::error::Result;
use crate::held::HeldTransaction;
use crate::queue::named;
use crate::value::{Statement, statements};

#[uniffi::export]
impl RejoinClient {
    /// Offers a parked mutation again, as it was written: it goes to the end of the queue, its rows show it at once, and what it
    /// compares is what stands there now. So a conflict that the app has looked at ends by its word. Works offline.
    ///
    /// Throws `InvalidInput` if there is none of this name, or it is not parked; `StandsOn` while the mutation that makes its row
    /// is parked. Nothing was changed then.
    pub async fn retry(&self, id: String) -> Result<()> {
        Ok(self.inner.retry(named(&id)?).await?)
    }

    /// `retry` of a mutation, if it is parked, and of everything that was parked because of it, in their order; tells which
    /// they are. Throws as `retry` does.
    pub async fn retry_chain(&self, id: String) -> Result<Vec<String>> {
        Ok(names(self.inner.retry_chain(named(&id)?).await?))
    }

    /// Mends a parked or waiting mutation in one crossing: the statements find what it wrote in the rows, on top of how they
    /// stand now, and change it. What comes out is a new mutation of plain SQL at the end of the queue, in the place of the old
    /// one; tells its id, or nothing if nothing is left. Works offline.
    ///
    /// What was parked because of the old one now waits for the new one: `retry_chain` with its id offers that again. Throws as
    /// `batch` does, and `InvalidInput` if there is no mutation of this name, or it was sent and has no verdict. Nothing was
    /// changed then.
    pub async fn edit(&self, id: String, statements: Vec<Statement>) -> Result<Option<String>> {
        let statements = self::statements(statements);
        let edited = self.inner.edit(named(&id)?, move |tx| {
            statements
                .iter()
                .try_for_each(|(sql, params)| tx.execute(sql, params.clone()).map(drop))
        });
        Ok(edited.await?.map(|id| id.to_string()))
    }

    /// `edit` for code that waits between two statements: the transaction begins with what the mutation wrote laid upon the rows
    /// as they stand now. When it is committed, its `edited` names the new mutation; ended otherwise, nothing was changed.
    ///
    /// Throws as `edit` and `begin` do.
    pub async fn begin_edit(&self, id: String) -> Result<Arc<HeldTransaction>> {
        Ok(Arc::new(HeldTransaction::new(self.inner.begin_edit(named(&id)?).await?)))
    }

    /// `discard` of a mutation and of everything that stands on a row that it made, parked before or only by this; tells which
    /// they are, it first. Throws as `discard` does.
    pub async fn discard_chain(&self, id: String) -> Result<Vec<String>> {
        Ok(names(self.inner.discard_chain(named(&id)?).await?))
    }
}

fn names(ids: Vec<MutationId>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}
