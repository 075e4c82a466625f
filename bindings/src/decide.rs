//! Decisions of the app about a parked or pending mutation.

use std::sync::Arc;

use rejoin_core::MutationId;

use crate::RejoinClient;
use crate::error::Result;
use crate::held::HeldTransaction;
use crate::queue::named;
use crate::value::{Statement, statements};

#[uniffi::export]
impl RejoinClient {
    /// Moves a parked mutation, unchanged, to the end of the queue. Its rows show it immediately;
    /// its old values become those of the current rows. So a conflict that the app has seen
    /// resolves to the app's value. Works offline.
    ///
    /// Throws `InvalidInput` if it does not exist or is not parked; `StandsOn` if it needs a row of
    /// a parked mutation. Then nothing was changed.
    pub async fn retry(&self, id: String) -> Result<()> {
        Ok(self.inner.queue().retry(named(&id)?).await?)
    }

    /// `retry` of a mutation, if it is parked, and of all mutations that were parked because of it,
    /// in queue order; returns them. Throws as `retry` does.
    pub async fn retry_chain(&self, id: String) -> Result<Vec<String>> {
        Ok(names(self.inner.queue().retry_chain(named(&id)?).await?))
    }

    /// Edits a parked or pending mutation in one call: the statements see its changes on top of the
    /// current rows and modify them. The result replaces the old mutation, as a new plain SQL
    /// mutation at the end of the queue; returns its id, or nothing if nothing is left. Works
    /// offline.
    ///
    /// Mutations that were parked because of the old one now depend on the new one: `retry_chain`
    /// with its id retries them. Throws as `batch` does, and `InvalidInput` if the mutation does
    /// not exist, or was sent and has no verdict. Then nothing was changed.
    pub async fn edit(&self, id: String, statements: Vec<Statement>) -> Result<Option<String>> {
        let statements = self::statements(statements);
        let edited = self.inner.queue().edit(named(&id)?, move |tx| {
            statements
                .iter()
                .try_for_each(|(sql, params)| tx.execute(sql, params.clone()).map(drop))
        });
        Ok(edited.await?.map(|id| id.to_string()))
    }

    /// `edit` as an interactive transaction: it begins with the mutation's changes on top of the
    /// current rows. After the commit, `edited` is the id of the new mutation; any other end
    /// changes nothing.
    ///
    /// Throws as `edit` and `begin` do.
    pub async fn begin_edit(&self, id: String) -> Result<Arc<HeldTransaction>> {
        Ok(Arc::new(HeldTransaction::new(self.inner.queue().begin_edit(named(&id)?).await?)))
    }

    /// `discard` of a mutation and of all mutations that need a row that it created, whether parked
    /// or pending; returns them, the given one first. Throws as `discard` does.
    pub async fn discard_chain(&self, id: String) -> Result<Vec<String>> {
        Ok(names(self.inner.queue().discard_chain(named(&id)?).await?))
    }
}

fn names(ids: Vec<MutationId>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}
