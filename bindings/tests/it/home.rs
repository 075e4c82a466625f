//! Test fixture: a folder with a client, and helpers.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rejoin_core::{RowBuffer, block_on};
use rejoin_ffi::{ClientConfig, HttpTransport, RejoinClient};
use rejoin_ffi_bytes::FfiBytes;
use tempfile::TempDir;

/// Timeout that turns a hang into a failure.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A client and the folder of its file.
pub(crate) struct Home {
    pub(crate) client: Arc<RejoinClient>,
    _folder: TempDir,
}

/// A configuration with the defaults.
pub(crate) fn config(path: &str) -> ClientConfig {
    ClientConfig {
        path: path.to_owned(),
        server: None,
        allow_http: None,
        user_id: None,
        device_name: None,
        platform: None,
        app_version: None,
        schema: None,
        policies: None,
        sync_interval_ms: None,
        push_debounce_ms: None,
        ack_deadline_ms: None,
        max_retries: None,
        server_fault_attempts: None,
        server_fault_age_ms: None,
        page_size: None,
        batch_size: None,
        metered: None,
        durability: None,
        readers: None,
        wal_limit: None,
        transaction_idle_ms: None,
        action_budget: None,
    }
}

impl Home {
    /// An offline client with a local-only table.
    pub(crate) fn new() -> Self {
        let home = Self::opened(|_| {}, None);
        home.runs("CREATE TABLE note (id TEXT PRIMARY KEY, body TEXT NOT NULL)");
        home
    }

    pub(crate) fn opened(
        change: impl FnOnce(&mut ClientConfig),
        transport: Option<Arc<dyn HttpTransport>>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder.path().join("app.db").to_string_lossy());
        change(&mut config);
        let client = block_on(RejoinClient::open(config, None, transport, None)).unwrap();
        Self { client, _folder: folder }
    }

    /// Runs a write without parameters.
    pub(crate) fn runs(&self, sql: &str) -> i64 {
        block_on(self.client.execute(sql.to_owned(), Vec::new())).unwrap()
    }
}

/// The first column of a row buffer, as text.
pub(crate) fn column(rows: FfiBytes) -> Vec<String> {
    let rows = RowBuffer::from_bytes(rows).unwrap();
    rows.iter().map(|row| row.get::<String>(0).unwrap()).collect()
}

/// Receives the next value, with a timeout.
pub(crate) fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(TIMEOUT).expect("no value within the timeout")
}
