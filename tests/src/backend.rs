//! The companion server in this process, over a file that outside writers open as well, or over
//! PostgreSQL.

mod side;
mod site;

use std::time::Duration;

use rejoin_core::sync::session::{Request, Response};
use rejoin_protocol::digest::Digest;
use rejoin_protocol::manifest::Rule;
use rejoin_protocol::{Manifest, PROTOCOL_HEADER, SUBSCRIPTIONS_HEADER, USER_HEADER};
use rejoin_server::{
    ActionConfig, Auth, Config, Gatekeeper, JwtConfig, Limits, ManualClock, MembershipConfig,
    Server, StreamConfig, TableConfig,
};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub use self::side::SideSession;
pub(crate) use self::side::text;
pub use self::site::Store;
use self::site::{Kept, Site, connect};
use crate::peer::Peer;
use crate::plain_client::PlainRequest;
use crate::tables;

/// 2026-01-01T00:00:00Z, where the devices' clocks also start.
const NOW: i64 = 1_767_225_600_000_000;

/// A test server.
#[derive(Debug)]
pub struct Backend {
    /// The server's clock; it moves only when a test advances it.
    pub clock: ManualClock,
    server: Option<Server>,
    config: Config,
    runtime: Runtime,
    site: Site,
    folder: TempDir,
}

/// A backup of a server: its database and its list of tables.
#[derive(Debug, Clone)]
pub struct Backup {
    database: Kept,
    tables: Vec<TableConfig>,
}

impl Default for Backend {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend {
    /// An empty server with the test tables, over SQLite.
    pub fn new() -> Self {
        Self::on(Store::Sqlite)
    }

    /// An empty server with the test tables, over this store.
    pub fn on(store: Store) -> Self {
        Self::over(store, "")
    }

    /// A server whose tables already hold the rows of this SQL; the rows keep their versions.
    pub fn over(store: Store, rows: &str) -> Self {
        let tables = vec![
            TableConfig::owned("places", "user_id"),
            TableConfig::child("visits", "places", "place_id"),
        ];
        Self::made(store, &format!("{};{rows}", tables::SERVER), tables, Limits::default())
    }

    /// A server with the given tables, over SQLite.
    pub fn of(sql: &str, tables: Vec<TableConfig>, limits: Limits) -> Self {
        Self::made(Store::Sqlite, sql, tables, limits)
    }

    /// A server with the given tables, over this store.
    pub fn made(store: Store, sql: &str, tables: Vec<TableConfig>, limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        let (site, config) = Site::new(store, &folder, sql);
        let config = Config { tables, ..config.with_limits(limits) };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime for the server");
        let mut backend =
            Self { clock: ManualClock::at(NOW), server: None, config, runtime, site, folder };
        backend.restart();
        backend
    }

    /// Stops the server and starts it again on the same file.
    pub fn restart(&mut self) {
        self.server = None;
        let server = Server::open_at(self.config.clone(), std::sync::Arc::new(self.clock.clone()));
        self.server = Some(server.expect("the server opens"));
    }

    /// Adds the configuration of an action, with the check that runs before it.
    pub fn asks_before(&mut self, action: ActionConfig) {
        self.config = self.config.clone().with_action(action);
        self.restart();
    }

    /// Adds a stream, to which devices may subscribe.
    pub fn add_stream(&mut self, stream: StreamConfig) {
        self.config = self.config.clone().with_stream(stream);
        self.restart();
    }

    /// Takes the rights of users from a query of the server's tables.
    pub fn set_membership(&mut self, membership: MembershipConfig) {
        self.config = self.config.clone().with_membership(membership);
        self.restart();
    }

    /// Installs a host program's gatekeeper.
    pub fn guards(&mut self, gatekeeper: std::sync::Arc<dyn Gatekeeper>) {
        self.config.gatekeeper = Some(gatekeeper);
        self.restart();
    }

    /// Changes the tables while the server is down, as a deployment does.
    pub fn alter(&mut self, sql: &str) {
        self.server = None;
        self.outside(sql);
        self.restart();
    }

    /// Adds a table whose rows belong to `user_id`; the SQL may also insert rows.
    pub fn add_table(&mut self, sql: &str, name: &str) {
        self.add(sql, TableConfig::owned(name, "user_id"));
    }

    /// Adds a table with this configuration; the SQL may also insert rows.
    pub fn add(&mut self, sql: &str, table: TableConfig) {
        self.config = self.config.clone().with_table(table);
        self.alter(sql);
    }

    /// Removes a table.
    pub fn remove_table(&mut self, name: &str) {
        self.config.tables.retain(|table| table.name != name);
        self.alter(&format!("DROP TABLE {name}"));
    }

    /// Accepts only tokens that are signed with this secret, and no longer the user header.
    pub fn sign(&mut self, secret: &str) {
        let mut jwt = JwtConfig::new(secret, "", "");
        (jwt.issuer, jwt.audience, jwt.require_expiry) = (None, None, false);
        self.config.auth = Auth::Jwt(jwt);
        self.restart();
    }

    /// Declares a rule for devices, as a deployment with another configuration does; the tables do
    /// not change.
    pub fn declare(&mut self, table: &str, rule: Rule) {
        let known = self.config.tables.iter_mut().find(|known| known.name == table);
        known.expect("a table of the server").rules.push(rule);
        self.restart();
    }

    /// Changes the configuration of a table, as a deployment with another configuration does; the
    /// tables do not change.
    pub fn govern(&mut self, table: &str, change: impl FnOnce(&mut TableConfig)) {
        let known = self.config.tables.iter_mut().find(|known| known.name == table);
        change(known.expect("a table of the server"));
        self.restart();
    }

    /// A backup of the server's database and its list of tables.
    pub fn backup(&self) -> Backup {
        Backup { database: self.site.back_up(&self.folder), tables: self.config.tables.clone() }
    }

    /// Replaces the server's database with a backup.
    pub fn restore(&mut self, backup: &Backup) {
        self.server = None;
        self.site.restore(&backup.database);
        self.config.tables.clone_from(&backup.tables);
        self.restart();
    }

    /// Compacts the change log.
    pub fn compact(&self) {
        self.server().compact().expect("the log is compacted");
    }

    /// Runs SQL of an outside writer.
    #[track_caller]
    pub fn outside(&self, sql: &str) {
        if let Err(error) = self.site.run(sql) {
            panic!("{sql}: {error}");
        }
    }

    /// An outside writer with an open connection: the returned function executes SQL on it.
    pub fn outside_writer(&self) -> Box<dyn Fn(&str)> {
        self.site.outside_writer()
    }

    /// Whether the server's tables are in an SQLite file.
    pub fn is_in_a_file(&self) -> bool {
        self.store() == Store::Sqlite
    }

    /// The kind of database under the server.
    pub fn store(&self) -> Store {
        match self.site {
            Site::File(_) => Store::Sqlite,
            Site::Postgres(_) => Store::Postgres,
        }
    }

    /// As [`Backend::outside`], for statements that SQLite and PostgreSQL write differently.
    #[track_caller]
    pub fn outside_by(&self, in_sqlite: &str, in_postgres: &str) {
        self.outside(if self.is_in_a_file() { in_sqlite } else { in_postgres });
    }

    /// A session of another program on the server's database. Close it before the database is
    /// replaced.
    pub fn side_session(&self) -> SideSession {
        self.site.side_session()
    }

    /// Stops the server and removes its database, unless that is a file in this server's folder.
    pub fn remove(&mut self) {
        self.server = None;
        self.site.remove();
    }

    /// An outside connection to the server's SQLite file. Close it before the file is replaced.
    pub fn connect(&self) -> Connection {
        connect(self.site.path())
    }

    /// The result of a query of the server's database as text: cells by `|`, rows by ` `; NULL is
    /// `-`. Plain reads of `places` or `visits` skip soft-deleted rows.
    #[track_caller]
    pub fn see(&self, sql: &str) -> String {
        match self.site.see(sql) {
            Ok(rows) => rows.join(" "),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// The answer to a request of `user`.
    pub fn answer(&self, user: &str, request: &Request) -> Response {
        let body = request.body.clone().unwrap_or_default();
        let (status, body) =
            self.send(user, (request.method, &request.path), request.subscriptions.clone(), body);
        // Neither quick nor slow: the pages of a snapshot keep their size.
        Response { status, body, took: Duration::from_secs(2), ..Response::default() }
    }

    /// The answer to a plain client: status, headers, body.
    pub fn answer_plainly(
        &self,
        user: &str,
        app_version: &str,
        request: &PlainRequest,
    ) -> (u16, Vec<(String, String)>, bytes::Bytes) {
        let headers = [
            (USER_HEADER.to_owned(), user.to_owned()),
            ("X-App-Version".to_owned(), app_version.to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("Accept".to_owned(), "application/json".to_owned()),
        ];
        let body = request.body.as_ref().map(ToString::to_string).unwrap_or_default();
        let answer = self.server().handle(request.method, request.path, &headers, body);
        self.runtime.block_on(answer)
    }

    /// The manifest, as an app would bundle it.
    pub fn manifest(&self) -> Manifest {
        let (_, body) = self.ask("anybody", "GET", "/sync/schema", Vec::new());
        serde_json::from_slice(&body).expect("a manifest")
    }

    /// The server's digest of a table for `user`.
    #[track_caller]
    pub fn digest(&self, user: &str, table: &str) -> Digest {
        self.digest_with(user, table, None)
    }

    /// The server's digest of a table for `user`, with these subscriptions.
    #[track_caller]
    pub fn digest_with(&self, user: &str, table: &str, subscriptions: Option<&str>) -> Digest {
        let path = format!("/sync/digest?table={table}");
        let subscriptions = subscriptions.map(str::to_owned);
        let (status, body) = self.send(user, ("GET", &path), subscriptions, Vec::new());
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 200, "{text}");
        let json: serde_json::Value = serde_json::from_slice(&body).expect("a digest");
        let sum = u64::from_str_radix(json["sum"].as_str().unwrap_or_default(), 16);
        Digest { count: json["count"].as_u64().unwrap_or(u64::MAX), sum: sum.expect("a sum") }
    }

    fn ask(&self, user: &str, method: &str, path: &str, body: Vec<u8>) -> (u16, bytes::Bytes) {
        self.send(user, (method, path), None, body)
    }

    fn send(
        &self,
        user: &str,
        (method, path): (&str, &str),
        subscriptions: Option<String>,
        body: Vec<u8>,
    ) -> (u16, bytes::Bytes) {
        let mut headers = vec![
            (USER_HEADER.to_owned(), user.to_owned()),
            (PROTOCOL_HEADER.to_owned(), "1".to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        headers.extend(subscriptions.map(|value| (SUBSCRIPTIONS_HEADER.to_owned(), value)));
        let answer = self.server().handle(method, path, &headers, body);
        let (status, _, body) = self.runtime.block_on(answer);
        (status, body)
    }

    /// The server itself, for tests with a transport.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the server is up")
    }
}

impl Peer for Backend {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        Some(self.answer(user, request))
    }
}
