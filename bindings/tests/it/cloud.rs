//! A server without a socket, behind a foreign transport.

use std::sync::{Arc, Mutex};

use rejoin_ffi::{HttpHeader, HttpRequest, HttpResponse, HttpTransport, RejoinError};
use rejoin_protocol::USER_HEADER;
use rejoin_server::{Config, Server, TableConfig};
use tempfile::TempDir;

/// The server URL of the clients.
pub(crate) const URL: &str = "https://cloud.test/prefix/";

const TABLE: &str = "CREATE TABLE task (id TEXT PRIMARY KEY, user_id TEXT, title TEXT NOT NULL,
    updated_at TEXT, deleted_at TEXT)";

/// A fault of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The transport throws `Offline`.
    Offline,
    /// It throws another error, after the server has handled the request.
    ThrowsLate,
    /// It panics.
    Panics,
}

/// The server and the recorded calls.
pub(crate) struct Cloud {
    server: Server,
    path: std::path::PathBuf,
    fault: Mutex<Option<Fault>>,
    pub(crate) disconnected: Mutex<u32>,
    _folder: TempDir,
}

impl Cloud {
    pub(crate) fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(TABLE).unwrap();
        let config = Config::new(&path).with_table(TableConfig::owned("task", "user_id"));
        Arc::new(Self {
            server: Server::open(config).unwrap(),
            path,
            fault: Mutex::default(),
            disconnected: Mutex::default(),
            _folder: folder,
        })
    }

    /// The titles of the server's rows.
    pub(crate) fn titles(&self) -> Vec<String> {
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        let mut query = connection.prepare("SELECT title FROM task ORDER BY id").unwrap();
        let titles = query.query_map([], |row| row.get(0)).unwrap();
        titles.collect::<Result<_, _>>().unwrap()
    }

    /// Sets the fault of all later requests; `None` for normal operation.
    pub(crate) fn fails(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    async fn answer(&self, request: HttpRequest) -> HttpResponse {
        let path = format!("/{}", request.url.strip_prefix(URL).expect("the configured server"));
        let headers = request.headers.into_iter();
        let mut headers: Vec<_> = headers.map(|it| (it.name, it.value)).collect();
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case(USER_HEADER));
        headers.push((USER_HEADER.to_owned(), "u1".to_owned()));
        let body = request.body.unwrap_or_default();
        let (status, headers, body) =
            self.server.handle(&request.method, &path, &headers, body).await;
        // In upper case, as on some platforms.
        let headers = headers.into_iter();
        let headers =
            headers.map(|(name, value)| HttpHeader { name: name.to_ascii_uppercase(), value });
        HttpResponse { status, headers: headers.collect(), body: body.into() }
    }
}

#[async_trait::async_trait]
impl HttpTransport for Cloud {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, RejoinError> {
        let fault = *self.fault.lock().unwrap();
        match fault {
            None => Ok(self.answer(request).await),
            Some(Fault::Offline) => Err(RejoinError::Offline { reason: "no bars".to_owned() }),
            Some(Fault::ThrowsLate) => {
                self.answer(request).await;
                Err(RejoinError::Callback { reason: "ConnectionReset".to_owned() })
            }
            Some(Fault::Panics) => panic!("in the transport"),
        }
    }

    fn disconnect(&self) -> Result<(), RejoinError> {
        *self.disconnected.lock().unwrap() += 1;
        Err(RejoinError::Callback { reason: "it was not connected".to_owned() })
    }
}
