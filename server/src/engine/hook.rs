//! Calls the host's hooks: in the push transaction, before the request of an inactive device, and
//! after a request.
//!
//! A hook can roll back its own group and nothing else. A panic is caught and never counts as
//! approval.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rejoin_protocol::time;
use rejoin_protocol::wire::code;

use super::{Caller, Engine};
use crate::error::{Fault, Refusal};
use crate::hooks::{
    AcceptedChanges, Conflict, HookSql, Hooks, Incompatible, Pulled, SnapshotReason,
    SnapshotRequired, Veto, Within,
};
use crate::model::{Client, StaleClient};
use crate::store::{Reading, read};

/// In microseconds.
const DAY: i64 = 86_400_000_000;

/// The message to a device if the hook fails for its group.
const UNDECIDED: &str = "the server could not decide now";

/// The host's decision about written changes.
pub(super) enum Decision {
    Keep,
    Refuse(String),
    Later(String),
}

/// Calls `accepted`: whether the host keeps the written changes. The caller holds the savepoint and
/// rolls it back otherwise.
pub(super) fn ask_accepted(
    hooks: &dyn Hooks,
    accepted: &AcceptedChanges<'_>,
    transaction: &dyn HookSql,
) -> Result<Decision, Fault> {
    let within = Within::new(transaction);
    let said = catch_unwind(AssertUnwindSafe(|| hooks.accepted(accepted, &within)));
    if let Some(fault) = within.fault() {
        return Err(fault);
    }
    Ok(match said {
        Ok(Ok(())) => Decision::Keep,
        Ok(Err(Veto::Refuse(why))) => Decision::Refuse(why),
        Ok(Err(Veto::Later(why))) => Decision::Later(why),
        Ok(Err(Veto::Failed(why))) => {
            tracing::warn!(why, mutation = accepted.mutation, "the hook `accepted` failed");
            Decision::Later(String::from(UNDECIDED))
        }
        Err(_) => {
            tracing::error!(mutation = accepted.mutation, "the hook `accepted` panicked");
            Decision::Later(String::from(UNDECIDED))
        }
    })
}

impl Engine {
    /// Notifies the host, if there are hooks; a failure there does not change the response.
    pub(crate) fn tell(&self, notify: impl FnOnce(&dyn Hooks)) {
        let Some(hooks) = &self.hooks else { return };
        if catch_unwind(AssertUnwindSafe(|| notify(&**hooks))).is_err() {
            tracing::error!("a hook panicked");
        }
    }

    pub(super) fn tell_conflicts(&self, conflicts: &[Conflict]) {
        for conflict in conflicts {
            self.tell(|hooks| hooks.conflict(conflict));
        }
    }

    pub(super) fn tell_pulled(
        &self,
        caller: &Caller,
        client_id: &str,
        (position, rows, has_more): (i64, usize, bool),
    ) {
        self.tell(|hooks| {
            let user = &caller.user;
            hooks.pull_complete(&Pulled { user, client_id, position, rows, has_more });
        });
    }

    /// Reports that a device was sent to take a snapshot. Reads the end of the log only if there
    /// are hooks.
    pub(super) fn tell_snapshot(
        &self,
        caller: &Caller,
        client_id: &str,
        position: Option<i64>,
        reason: SnapshotReason,
    ) {
        if self.hooks.is_none() {
            return;
        }
        let log = read(&*self.store, |reading: &dyn Reading| reading.log_state());
        let watermark = log.map_or(0, |log| log.watermark);
        let user = &caller.user;
        self.tell(|hooks| {
            let event = SnapshotRequired { user, client_id, position, watermark, reason };
            hooks.snapshot_required(&event);
        });
    }

    /// Reports an app that was refused because its version is too old.
    pub(crate) fn tell_incompatible(
        &self,
        fault: &Fault,
        user: &str,
        client_id: Option<&str>,
        app_version: &str,
    ) {
        let is_too_old = |refusal: &Refusal| refusal.code == code::UPGRADE_REQUIRED;
        if let (Fault::Refused(refusal), Some(least)) = (fault, &self.min_app_version)
            && is_too_old(refusal)
        {
            self.tell(|hooks| {
                hooks.schema_incompatible(&Incompatible { user, client_id, app_version, least });
            });
        }
    }

    /// Interrupts the request of a device that was inactive for longer than the log is kept, so
    /// that the host decides whether to admit it ([`asking`](Self::asking)).
    pub(super) fn admit(
        &self,
        caller: &Caller,
        client_id: &str,
        client: &Client,
    ) -> Result<(), Fault> {
        if self.hooks.is_none() || caller.is_admitted {
            return Ok(());
        }
        let last = client.last_pull_at.as_ref().max(client.last_push_at.as_ref());
        let Some((last, at)) = last.and_then(|last| Some((last, time::parse(last)?))) else {
            return Ok(()); // A new device.
        };
        if self.clock.now() - at <= DAY * i64::from(self.retention.log_days) {
            return Ok(());
        }
        Err(Fault::Stale(Box::new(StaleClient {
            user: caller.user.clone(),
            client_id: client_id.to_owned(),
            last_sync_at: last.clone(),
        })))
    }

    /// Runs the request. If it was interrupted for an inactive device, calls the host outside the
    /// transaction and runs the request again.
    pub(crate) fn asking<T>(
        &self,
        caller: &Caller,
        work: impl Fn(&Caller) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (client, hooks) = match (work(caller), &self.hooks) {
            (Err(Fault::Stale(client)), Some(hooks)) => (client, hooks),
            (done, _) => return done,
        };
        match catch_unwind(AssertUnwindSafe(|| hooks.stale_client(&client))) {
            Ok(true) => work(&Caller { is_admitted: true, ..caller.clone() }),
            Ok(false) => {
                let message = "this device was away for longer than this server lets in";
                Err(Refusal::new(403, code::CLIENT_STALE, message).into())
            }
            Err(_) => Err(Fault::Transient(String::from("the hook `stale_client` panicked"))),
        }
    }
}
