//! A test host: records calls of its hooks, and decides about groups with a closure.

use std::fmt;
use std::sync::{Arc, Mutex};

use rejoin_protocol::Value as Cell;
use rejoin_server::Config;
use rejoin_server::hooks::{
    AcceptedChanges, Conflict, Hooks, Incompatible, Pulled, SnapshotRequired, StaleClient, Veto,
    Within,
};

use crate::world::{Backend, TABLES, World, standard};

/// The hook's own table, besides the tables of every test server; not synced.
const AUDIT: &str =
    "CREATE TABLE audit(line TEXT PRIMARY KEY, who TEXT, size INTEGER CHECK (size < 100));";

type Says = dyn Fn(&AcceptedChanges<'_>, &Within<'_>) -> Result<(), Veto> + Send + Sync;

/// Records calls of its hooks, and decides about groups with a closure.
pub(crate) struct Host {
    events: Mutex<Vec<String>>,
    says: Box<Says>,
    lets_in: bool,
    panics: bool,
}

impl fmt::Debug for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Host").finish_non_exhaustive()
    }
}

impl Host {
    pub(crate) fn saying(
        says: impl Fn(&AcceptedChanges<'_>, &Within<'_>) -> Result<(), Veto> + Send + Sync + 'static,
    ) -> Self {
        let says = Box::new(says);
        Self { events: Mutex::default(), says, lets_in: true, panics: false }
    }

    pub(crate) fn listening() -> Self {
        Self::saying(|_, _| Ok(()))
    }

    /// Refuses devices that were inactive for long.
    pub(crate) fn shutting_out() -> Self {
        Self { lets_in: false, ..Self::listening() }
    }

    /// All observing hooks panic.
    pub(crate) fn panicking() -> Self {
        Self { panics: true, ..Self::listening() }
    }

    fn record(&self, line: String) {
        self.events.lock().unwrap().push(line);
        assert!(!self.panics, "on purpose");
    }

    /// The lines recorded since the last call.
    pub(crate) fn take_events(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

impl Hooks for Host {
    fn accepted(&self, accepted: &AcceptedChanges<'_>, within: &Within<'_>) -> Result<(), Veto> {
        (self.says)(accepted, within)
    }

    fn conflict(&self, conflict: &Conflict) {
        let name = |cells: &std::collections::BTreeMap<String, Cell>| {
            cells.get("name").and_then(Cell::as_text).unwrap_or("-").to_owned()
        };
        let Conflict { user, table, id, code, settled, present, sent, .. } = conflict;
        let (stood, sent) = (name(present), name(sent));
        self.record(format!("{user} {table}/{id} {code} {stood} {sent} {settled:?}"));
    }

    fn pull_complete(&self, pulled: &Pulled<'_>) {
        let Pulled { user, client_id, rows, has_more, .. } = pulled;
        self.record(format!("{user}/{client_id} pulled {rows} {has_more}"));
    }

    fn schema_incompatible(&self, refused: &Incompatible<'_>) {
        let Incompatible { user, client_id, app_version, least } = refused;
        self.record(format!("{user}/{} has {app_version} not {least}", client_id.unwrap_or("-")));
    }

    fn stale_client(&self, client: &StaleClient) -> bool {
        let StaleClient { user, client_id, last_sync_at } = client;
        self.record(format!("{user}/{client_id} was here {last_sync_at}"));
        self.lets_in
    }

    fn compaction(&self, done: &rejoin_server::Compaction) {
        self.record(format!("compacted {}", done.entries));
    }

    fn snapshot_required(&self, required: &SnapshotRequired<'_>) {
        let SnapshotRequired { user, client_id, reason, .. } = required;
        self.record(format!("{user}/{client_id} snapshot {reason:?}"));
    }
}

pub(crate) fn hosted(backend: Backend, host: Host) -> (World, Arc<Host>) {
    hosted_with(backend, host, standard)
}

pub(crate) fn hosted_with(
    backend: Backend,
    host: Host,
    configure: impl Fn(Config) -> Config,
) -> (World, Arc<Host>) {
    let host = Arc::new(host);
    let hooks = Arc::clone(&host);
    let tables = format!("{TABLES}{AUDIT}");
    let world = World::with(backend, &tables, |config| configure(config).with_hooks(hooks.clone()));
    (world, host)
}
