//! The queue: pending and parked mutations, decisions about them, verdicts and the history.

use std::sync::Arc;

use rejoin_core::MutationId;

use crate::RejoinClient;
use crate::actions::{Performed, arguments};
use crate::client::subscribed;
use crate::config::millis;
use crate::error::Result;
use crate::held::HeldTransaction;
use crate::history::{AcceptedMutation, HistoryBounds, Undone};
use crate::pending::{PendingCounts, PendingMutation, RowSyncState, Verdict, named};
use crate::subscription::Subscription;
use crate::value::{SqlValue, Statement, small, statements};
use crate::verdicts::{VerdictObserver, Verdicts};

#[uniffi::export]
impl RejoinClient {
    /// All mutations that the server has not accepted, in queue order.
    ///
    /// Works offline. The queue is stored in the file and survives a crash.
    pub async fn pending(&self) -> Result<Vec<PendingMutation>> {
        Ok(self.inner.queue().all().await?.into_iter().map(PendingMutation::from).collect())
    }

    /// Number of local writes by state; cheap.
    pub async fn pending_counts(&self) -> Result<PendingCounts> {
        Ok(self.inner.queue().counts().await?.into())
    }

    /// The sync state of a row. For a whole list use the SQL function
    /// `rejoin_row_state('table', id)` in the query.
    ///
    /// Throws `InvalidInput` if the table is not synced.
    pub async fn row_sync_state(&self, table: String, key: SqlValue) -> Result<RowSyncState> {
        Ok(self.inner.queue().row_state(&table, key).await?.into())
    }

    /// Discards a pending or parked write permanently and reverts its changes.
    ///
    /// One that was sent and has no verdict is reverted locally and withdrawn from the server; if
    /// the server has already accepted it, it is reverted there. A plain Synchro v0.1.2 server does
    /// so after its verdict.
    ///
    /// Throws `InvalidInput` if it does not exist, or was sent to a server that cannot withdraw it;
    /// then nothing was changed.
    pub async fn discard(&self, id: String) -> Result<()> {
        Ok(self.inner.queue().discard(named(&id)?).await?)
    }

    /// Waits for the server's verdict on a write of `pending`. Starts syncing if it is not started.
    ///
    /// Throws `Offline` after the timeout in milliseconds; without one it waits for a network. The
    /// write stays in the queue.
    #[uniffi::method(default(timeout_ms = None))]
    pub async fn verdict(&self, id: String, timeout_ms: Option<u32>) -> Result<Verdict> {
        let (id, timeout) = (named(&id)?, timeout_ms.map(millis));
        Ok(self.inner.queue().verdict(id, timeout).await?.into())
    }

    /// Moves a parked mutation, unchanged, to the end of the queue. Its rows show it immediately;
    /// its old values become those of the current rows. So a conflict that the app has seen
    /// resolves to the app's value. Works offline.
    ///
    /// Throws `InvalidInput` if it does not exist or is not parked; `ParentParked` if it needs a row of
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

    /// Edits a parked or pending action: performs its newest version with these arguments, on the
    /// current rows without the old action's changes. The result is a new mutation at the end of
    /// the queue, which replaces the old one. One transaction; works offline.
    ///
    /// Mutations that were parked because of the old one now depend on the new one: `retry_chain`
    /// with its id retries them. If nothing is written, there is no id and the old mutation is
    /// discarded. Throws as `perform` does, and `InvalidInput` if the mutation does not exist, is
    /// no action, or was sent, has no verdict, and the server cannot withdraw it. Then nothing was
    /// changed.
    pub async fn perform_again(&self, id: String, arguments_json: String) -> Result<Performed> {
        let id = named(&id)?;
        let arguments = arguments(&format!("mutation {id}"), &arguments_json)?;
        Ok(self.inner.queue().perform_again(id, arguments).await?.into())
    }

    /// The accepted mutations that the file still keeps, newest first, at most `limit`. Accepted
    /// entries of the log are listed until they are folded into the base.
    pub async fn history(&self, limit: u32) -> Result<Vec<AcceptedMutation>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(self
            .inner
            .queue()
            .history(limit)
            .await?
            .into_iter()
            .map(AcceptedMutation::from)
            .collect())
    }

    /// Reverts a mutation. One without a verdict is discarded, as by `discard`. For an accepted
    /// one, a new compare-only mutation sets each column back to the server's before-image. Works
    /// offline, in one transaction.
    ///
    /// Throws `Changed` with the rows if any of them has changed since; `InvalidInput` if it was
    /// pruned, and for a parked one, whose changes are not in the rows.
    pub async fn undo(&self, id: String) -> Result<Undone> {
        Ok(self.inner.queue().undo(named(&id)?).await?.into())
    }

    /// Reverts the undo of a mutation: `id` is the mutation that was undone.
    ///
    /// Throws `InvalidInput` if it is not undone; otherwise as `undo`.
    pub async fn redo(&self, id: String) -> Result<Undone> {
        Ok(self.inner.queue().redo(named(&id)?).await?.into())
    }

    /// Removes accepted mutations beyond these bounds and returns their number. They can no longer
    /// be undone. Without a call, the default bounds apply to each acceptance.
    pub async fn prune(&self, bounds: HistoryBounds) -> Result<u32> {
        Ok(small(self.inner.queue().prune(bounds.into()).await? as u64))
    }

    /// The verdicts that the app has not acknowledged, oldest first, at most `limit`. Each end of
    /// each attempt is one entry; it is stored with the verdict and survives a crash.
    pub async fn verdicts(&self, limit: u32) -> Result<Verdicts> {
        Ok(self.inner.queue().verdicts(usize::try_from(limit).unwrap_or(usize::MAX)).await?.into())
    }

    /// Acknowledges the verdicts up to this number; they are not delivered again.
    pub async fn acknowledge_verdicts(&self, through: i64) -> Result<()> {
        Ok(self.inner.queue().acknowledge_verdicts(through).await?)
    }

    /// Delivers the unacknowledged verdicts, and then each new one, until the subscription is
    /// cancelled. Unacknowledged verdicts are delivered again to the next subscription: at least
    /// once.
    pub fn watch_verdicts(&self, observer: Arc<dyn VerdictObserver>) -> Arc<Subscription> {
        subscribed(self.inner.queue().watch_verdicts(move |verdicts| {
            if let Err(error) = observer.on_verdicts(verdicts.into()) {
                tracing::warn!(%error, "a verdict observer threw");
            }
        }))
    }
}

fn names(ids: Vec<MutationId>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}
