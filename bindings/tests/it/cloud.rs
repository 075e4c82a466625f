//! A server without a socket, behind a foreign transport; and a token provider that does as it is told.

use std::sync::{Arc, Mutex};

use rejoin_ffi::{
    HttpHeader, HttpRequest, HttpResponse, HttpTransport, RejoinError, TokenProvider,
};
use rejoin_protocol::USER_HEADER;
use rejoin_server::{Config, Server, TableConfig};
use tempfile::TempDir;

/// The address that clients are told.
pub(crate) const URL: &str = "https://cloud.test/prefix/";

const TABLE: &str = "CREATE TABLE task (id TEXT PRIMARY KEY, user_id TEXT,
    title TEXT NOT NULL CHECK (title <> 'refused'), updated_at TEXT, deleted_at TEXT)";

/// What becomes of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The transport throws that nobody is there.
    Offline,
    /// It throws something else, after the server has seen the request.
    ThrowsLate,
    /// It panics.
    Panics,
}

/// The server, and what it was asked.
pub(crate) struct Cloud {
    server: Server,
    path: std::path::PathBuf,
    /// The one token that is good; without one every request is user `u1`.
    pub(crate) good: Mutex<Option<String>>,
    fault: Mutex<Option<Fault>>,
    pub(crate) asked: Mutex<Vec<HttpRequest>>,
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
            good: Mutex::default(),
            fault: Mutex::default(),
            asked: Mutex::default(),
            disconnected: Mutex::default(),
            _folder: folder,
        })
    }

    /// The titles that the server has.
    pub(crate) fn titles(&self) -> Vec<String> {
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        let mut query = connection.prepare("SELECT title FROM task ORDER BY id").unwrap();
        let titles = query.query_map([], |row| row.get(0)).unwrap();
        titles.collect::<Result<_, _>>().unwrap()
    }

    /// From now on requests go so; without a fault, they are answered.
    pub(crate) fn fails(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    async fn answer(&self, request: HttpRequest) -> HttpResponse {
        let path = format!("/{}", request.url.strip_prefix(URL).expect("the configured server"));
        let good = self.good.lock().unwrap().as_ref().map(|token| format!("Bearer {token}"));
        let is_authorization = |it: &&HttpHeader| it.name.eq_ignore_ascii_case("authorization");
        let used = request.headers.iter().find(is_authorization).map(|it| it.value.clone());
        if good.is_some() && good != used {
            return HttpResponse { status: 401, headers: Vec::new(), body: b"{}".to_vec() };
        }
        let headers = request.headers.into_iter().filter(|it| !is_authorization(&it));
        let mut headers: Vec<_> = headers.map(|it| (it.name, it.value)).collect();
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case(USER_HEADER));
        headers.push((USER_HEADER.to_owned(), "u1".to_owned()));
        let body = request.body.unwrap_or_default();
        let (status, headers, body) =
            self.server.handle(&request.method, &path, &headers, body).await;
        // In capitals, as some platforms give them.
        let headers = headers.into_iter();
        let headers =
            headers.map(|(name, value)| HttpHeader { name: name.to_ascii_uppercase(), value });
        HttpResponse { status, headers: headers.collect(), body: body.to_vec() }
    }
}

#[async_trait::async_trait]
impl HttpTransport for Cloud {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, RejoinError> {
        self.asked.lock().unwrap().push(request.clone());
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

/// What a provider does when it is asked.
#[derive(Debug, Clone)]
pub(crate) enum Word {
    Token(&'static str),
    Nobody,
    Throws,
    Panics,
}

/// A token provider with two words: for being asked, and for being asked to refresh.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) now: Mutex<Word>,
    pub(crate) fresh: Mutex<Word>,
    pub(crate) asked: Mutex<Vec<bool>>,
}

impl Provider {
    pub(crate) fn new(now: Word, fresh: Word) -> Arc<Self> {
        let asked = Mutex::default();
        Arc::new(Self { now: Mutex::new(now), fresh: Mutex::new(fresh), asked })
    }
}

#[async_trait::async_trait]
impl TokenProvider for Provider {
    async fn token(&self, refresh: bool) -> Result<Option<String>, RejoinError> {
        self.asked.lock().unwrap().push(refresh);
        let word = if refresh { &self.fresh } else { &self.now }.lock().unwrap().clone();
        match word {
            Word::Token(token) => Ok(Some(token.to_owned())),
            Word::Nobody => Ok(None),
            Word::Throws => Err(RejoinError::Callback { reason: "IdentityException".to_owned() }),
            Word::Panics => panic!("in the provider"),
        }
    }
}
