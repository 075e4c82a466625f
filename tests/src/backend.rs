//! The companion server in this process, over a file that outside writers open as well, or over PostgreSQL.

mod side;
mod site;

use rejoin_core::sync::session::{Request, Response};
use rejoin_protocol::digest::Digest;
use rejoin_protocol::manifest::Rule;
use rejoin_protocol::{Manifest, PROTOCOL_HEADER, USER_HEADER};
use rejoin_server::{
    ActionConfig, Auth, Config, Gatekeeper, JwtConfig, Limits, ManualClock, Server, TableConfig,
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

/// 2026-01-01T00:00:00Z, where the devices' clocks begin too.
const NOW: i64 = 1_767_225_600_000_000;

/// A server of a story.
#[derive(Debug)]
pub struct Backend {
    /// The server's clock; it stands until a story moves it.
    pub clock: ManualClock,
    server: Option<Server>,
    config: Config,
    runtime: Runtime,
    site: Site,
    folder: TempDir,
}

/// A server's database and its list of tables as they once were.
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
    /// A server with the tables of the tests, empty, over SQLite.
    pub fn new() -> Self {
        Self::on(Store::Sqlite)
    }

    /// A server with the tables of the tests, empty, over this store.
    pub fn on(store: Store) -> Self {
        Self::over(store, "")
    }

    /// A server over tables that hold the rows of this SQL before; the rows keep their versions.
    pub fn over(store: Store, rows: &str) -> Self {
        let tables = vec![
            TableConfig::owned("places", "user_id"),
            TableConfig::child("visits", "places", "place_id"),
        ];
        Self::made(store, &format!("{};{rows}", tables::SERVER), tables, Limits::default())
    }

    /// A server over tables of the test's own, over SQLite.
    pub fn of(sql: &str, tables: Vec<TableConfig>, limits: Limits) -> Self {
        Self::made(Store::Sqlite, sql, tables, limits)
    }

    /// A server over tables of the test's own, over this store.
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

    /// Asks this before it takes an action.
    pub fn asks_before(&mut self, action: ActionConfig) {
        self.config = self.config.clone().with_action(action);
        self.restart();
    }

    /// A host program stands at the door.
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

    /// Adds a table whose rows belong to `user_id`, with what is in it already.
    pub fn add_table(&mut self, sql: &str, name: &str) {
        self.config = self.config.clone().with_table(TableConfig::owned(name, "user_id"));
        self.alter(sql);
    }

    /// Removes a table.
    pub fn remove_table(&mut self, name: &str) {
        self.config.tables.retain(|table| table.name != name);
        self.alter(&format!("DROP TABLE {name}"));
    }

    /// Believes tokens that are signed with this secret, and no header any more.
    pub fn sign(&mut self, secret: &str) {
        let mut jwt = JwtConfig::new(secret, "", "");
        (jwt.issuer, jwt.audience, jwt.require_expiry) = (None, None, false);
        self.config.auth = Auth::Jwt(jwt);
        self.restart();
    }

    /// Declares a rule for devices, as a deployment with another configuration does; the tables stay as they are.
    pub fn declare(&mut self, table: &str, rule: Rule) {
        let known = self.config.tables.iter_mut().find(|known| known.name == table);
        known.expect("a table of the server").rules.push(rule);
        self.restart();
    }

    /// Says something else of a table, as a deployment with another configuration does; the tables stay as they are.
    pub fn govern(&mut self, table: &str, change: impl FnOnce(&mut TableConfig)) {
        let known = self.config.tables.iter_mut().find(|known| known.name == table);
        change(known.expect("a table of the server"));
        self.restart();
    }

    /// A backup of the server's database and its list of tables.
    pub fn backup(&self) -> Backup {
        Backup { database: self.site.back_up(&self.folder), tables: self.config.tables.clone() }
    }

    /// Puts a backup in the place of the server's database.
    pub fn restore(&mut self, backup: &Backup) {
        self.server = None;
        self.site.restore(&backup.database);
        self.config.tables.clone_from(&backup.tables);
        self.restart();
    }

    /// Forgets of the log what is not needed any more.
    pub fn compact(&self) {
        self.server().compact().expect("the log is compacted");
    }

    /// What somebody writes by SQL on the side.
    #[track_caller]
    pub fn outside(&self, sql: &str) {
        if let Err(error) = self.site.run(sql) {
            panic!("{sql}: {error}");
        }
    }

    /// Somebody who stays connected, and writes on the side whatever he is given.
    pub fn somebody(&self) -> Box<dyn Fn(&str)> {
        self.site.somebody()
    }

    /// Whether the server's tables are in a file.
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

    /// The same where SQLite and PostgreSQL say it in other words.
    #[track_caller]
    pub fn outside_by(&self, in_sqlite: &str, in_postgres: &str) {
        self.outside(if self.is_in_a_file() { in_sqlite } else { in_postgres });
    }

    /// A session of another program on the server's database. It must be closed before the database is replaced.
    pub fn side_session(&self) -> SideSession {
        self.site.side_session()
    }

    /// Stops the server and removes its database, where that is not a file of this server's folder.
    pub fn remove(&mut self) {
        self.server = None;
        self.site.remove();
    }

    /// A connection of somebody else's to the server's file, where it has one; to be closed before the file is changed for another one.
    pub fn connect(&self) -> Connection {
        connect(self.site.path())
    }

    /// What a query of the server's database sees, of rows that are not deleted if it reads `places` or `visits` plainly:
    /// cells by `|`, rows by ` `; NULL is `-`.
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
        let (status, body) = self.ask(user, request.method, &request.path, body);
        Response { status, retry_after: None, body }
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
        let path = format!("/sync/digest?table={table}");
        let (status, body) = self.ask(user, "GET", &path, Vec::new());
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 200, "{text}");
        let json: serde_json::Value = serde_json::from_slice(&body).expect("a digest");
        let sum = u64::from_str_radix(json["sum"].as_str().unwrap_or_default(), 16);
        Digest { count: json["count"].as_u64().unwrap_or(u64::MAX), sum: sum.expect("a sum") }
    }

    fn ask(&self, user: &str, method: &str, path: &str, body: Vec<u8>) -> (u16, bytes::Bytes) {
        let headers = [
            (USER_HEADER.to_owned(), user.to_owned()),
            (PROTOCOL_HEADER.to_owned(), "1".to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        let answer = self.server().handle(method, path, &headers, body);
        let (status, _, body) = self.runtime.block_on(answer);
        (status, body)
    }

    /// The server itself, for stories with a transport.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the server is up")
    }
}

impl Peer for Backend {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        Some(self.answer(user, request))
    }
}
