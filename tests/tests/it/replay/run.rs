//! Replays a recorded session on the companion server: the operator's SQL, the clock, and each
//! request as it was recorded.
//!
//! Values that the recorded server had assigned (positions, versions, cursors, the schema) are
//! replaced by those of ours; everything else is sent as recorded.

#![allow(clippy::disallowed_methods)] // The operator opens the file directly.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use rejoin_protocol::time;
use rejoin_server::error::Fault;
use rejoin_server::store::{Reading, Store, Writing};
use rejoin_server::{Config, ManualClock, Server};
use rejoin_tests::plain_shape::strangers;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::compare::{Known, differences, schema_of};

/// The two users of the recordings.
pub(super) const ANNA: &str = "11111111-1111-1111-1111-111111111111";
pub(super) const BEN: &str = "22222222-2222-2222-2222-222222222222";

/// The hash of the recorded schema of all sessions but one.
pub(super) const HASH: &str = "1c09b912473e561e0b3f38e95f076698ec33d3725616e279c8cfe87ac9a318c4";

/// A database that is unreachable.
#[derive(Debug)]
struct UnreachableDatabase;

impl Store for UnreachableDatabase {
    fn read(&self, _: &mut dyn FnMut(&dyn Reading) -> Result<(), Fault>) -> Result<(), Fault> {
        self.pulse().map(drop)
    }

    fn write(
        &self,
        _: &str,
        _: &mut dyn FnMut(&dyn Writing) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.pulse().map(drop)
    }

    fn pulse(&self) -> Result<i64, Fault> {
        Err(Fault::Transient("the database is away".to_owned()))
    }
}

/// A session under way.
pub(super) struct Run {
    pub(super) known: Known,
    /// Headers beside the user's.
    pub(super) headers: Vec<(String, String)>,
    /// Whether the user is sent in `X-User-ID`.
    pub(super) names_user: bool,
    pub(super) config: Config,
    /// The differences, by fixture.
    pub(super) found: BTreeMap<String, Vec<String>>,
    server: Server,
    clock: ManualClock,
    now: i64,
    runtime: Runtime,
    folder: TempDir,
}

impl Run {
    pub(super) fn new(began: &str, tables: &str, configure: impl Fn(Config) -> Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        Connection::open(&path).unwrap().execute_batch(tables).unwrap();
        let mut config = configure(Config::new(path));
        // As recorded: a device with an older schema is refused. Other tests cover the window.
        config.retention.schema_days = 0;
        let now = time::parse(began).unwrap();
        let clock = ManualClock::at(now);
        let server = Server::open_at(config.clone(), Arc::new(clock.clone())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            known: Known::default(),
            headers: Vec::new(),
            names_user: true,
            config,
            found: BTreeMap::new(),
            server,
            clock,
            now,
            runtime,
            folder,
        }
    }

    /// Restarts the server with the changed configuration.
    pub(super) fn restart(&mut self) {
        self.server = Server::open_at(self.config.clone(), Arc::new(self.clock.clone())).unwrap();
    }

    /// Makes the database unreachable.
    pub(super) fn database_goes(&mut self) {
        self.server = Server::over(
            self.config.clone(),
            Arc::new(UnreachableDatabase),
            Arc::new(self.clock.clone()),
        );
    }

    /// Compacts the log.
    pub(super) fn compact(&mut self) {
        self.server.compact().unwrap();
    }

    pub(super) fn path(&self) -> &Path {
        &self.config.database
    }

    /// Maps a recorded position to the present one of our log.
    pub(super) fn is_now(&mut self, position: i64) {
        let head = self.head();
        self.known.positions.insert(position, head);
    }

    fn head(&self) -> i64 {
        let connection = Connection::open(self.path()).unwrap();
        let sql = "SELECT coalesce(max(seq), 0) FROM rejoin_changelog";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Runs the operator's SQL at this time.
    #[track_caller]
    pub(super) fn sql(&mut self, at: &str, sql: &str) {
        self.set_time(time::parse(at).unwrap());
        let connection = Connection::open(self.path()).unwrap();
        let now = time::format(self.now);
        let whole = format!(
            "BEGIN IMMEDIATE; UPDATE rejoin_clock SET now = '{now}'; {sql};
             UPDATE rejoin_clock SET now = NULL; COMMIT"
        );
        connection.execute_batch(&whole).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Changes the tables while the server runs.
    pub(super) fn alter(&mut self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }

    fn set_time(&mut self, now: i64) {
        if now > self.now {
            self.clock.advance(now - self.now);
            self.now = now;
        }
    }

    /// Maps the recorded schema to the present one of our server.
    pub(super) fn schema_is(&mut self, version: i64, hash: &str) {
        let (status, _, body) = self.ask("GET", "/sync/schema", ANNA, Vec::new());
        assert_eq!(status, 200, "{body}");
        self.known.schemas.push(((version, hash.to_owned()), schema_of(&body).unwrap()));
    }

    /// Registers a device, which was not recorded.
    pub(super) fn register(&mut self, user: &str, client: &str) {
        let body =
            json!({"client_id": client, "platform": "ios", "schema_version": 0, "schema_hash": ""});
        let (status, _, body) = self.ask("POST", "/sync/register", user, body.to_string().into());
        assert_eq!(status, 200, "{body}");
    }

    /// Takes a snapshot for a device, which was not recorded.
    pub(super) fn snapshot(&mut self, user: &str, client: &str) {
        let (_, (version, hash)) = self.known.schemas.last().unwrap().clone();
        let body = json!({"client_id": client, "limit": 1000, "schema_version": version, "schema_hash": hash});
        let (status, _, body) = self.ask("POST", "/sync/snapshot", user, body.to_string().into());
        assert_eq!(status, 200, "{body}");
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        user: &str,
        body: Vec<u8>,
    ) -> (u16, Vec<(String, String)>, Json) {
        let mut headers = self.headers.clone();
        if self.names_user {
            headers.push(("X-User-ID".to_owned(), user.to_owned()));
        }
        let answer = self.server.handle(method, path, &headers, body);
        let (status, headers, body) = self.runtime.block_on(answer);
        let text = String::from_utf8_lossy(&body).into_owned();
        (status, headers, serde_json::from_slice(&body).unwrap_or(Json::String(text)))
    }

    /// Replays a recorded request of Anna's.
    #[track_caller]
    pub(super) fn replay(&mut self, name: &str) -> Json {
        self.replay_as(ANNA, name)
    }

    /// Replays recorded requests of this user, by number, in order.
    #[track_caller]
    pub(super) fn replay_all(&mut self, user: &str, mut numbers: RangeInclusive<u32>) {
        let mut names: Vec<String> = names().into_iter().collect();
        names.retain(|name| numbers.contains(&number(name).parse().unwrap_or_default()));
        assert!(number(&names[0]).parse() == Ok(numbers.next().unwrap_or_default()), "{names:?}");
        for name in names {
            self.replay_as(user, &name);
        }
    }

    /// Replays a recorded request of this user; records the differences of the response.
    #[track_caller]
    pub(super) fn replay_as(&mut self, user: &str, name: &str) -> Json {
        let fixture = fixture(name);
        let (method, path) =
            (fixture["method"].as_str().unwrap(), fixture["path"].as_str().unwrap());
        self.set_time(self.recorded_time(&fixture["response"]));
        let body = match &fixture["request"] {
            Json::Null => Vec::new(),
            Json::String(text) => text.clone().into_bytes(),
            request => self.translated(name, request).to_string().into_bytes(),
        };
        let (status, headers, body) = self.ask(method, path, user, body);
        let unknown = strangers(path, status, &headers, &body);
        assert!(unknown.is_empty(), "{name}: {unknown:?} in {body}");
        let mut found = differences(&mut self.known, &fixture["response"], &body);
        let (theirs, own) = (outcomes(&fixture["response"]), outcomes(&body));
        if fixture["status"] != json!(status) {
            found = vec![format!("{status} {own}").trim_end().to_owned()];
        } else if theirs != own {
            found = vec![own];
        }
        assert!(!self.found.contains_key(name), "{name} is played twice");
        self.found.insert(name.to_owned(), found);
        body
    }

    /// The time at which the recorded server wrote, or answered.
    fn recorded_time(&self, answer: &Json) -> i64 {
        let results = answer["accepted"].as_array().into_iter().flatten();
        let wrote =
            results.flat_map(|result| [&result["server_updated_at"], &result["server_deleted_at"]]);
        let wrote = wrote.filter_map(|at| time::parse(at.as_str()?)).min();
        let answered = answer["server_time"].as_str().and_then(time::parse);
        wrote.or(answered).unwrap_or(self.now + 1_000)
    }

    #[track_caller]
    fn translated(&self, name: &str, request: &Json) -> Json {
        let mut request = request.clone();
        if let Some(schema) = schema_of(&request)
            && let Some((_, (version, hash))) =
                self.known.schemas.iter().find(|(known, _)| *known == schema)
        {
            request["schema_version"] = json!(version);
            request["schema_hash"] = json!(hash);
        }
        if let Some(position) = request.get("checkpoint").and_then(Json::as_i64) {
            let known = self.known.positions.get(&position);
            let last = self.known.positions.keys().next_back().copied().unwrap_or_default();
            assert!(
                known.is_some() || position <= 0 || position > last,
                "{name}: position {position}?"
            );
            request["checkpoint"] = json!(known.copied().unwrap_or(position));
        }
        if let Some(cursor) = request.get("cursor")
            && let Some(known) = self.known.cursors.get(&cursor.to_string())
        {
            request["cursor"] = known.clone();
        }
        for record in request.get_mut("changes").and_then(Json::as_array_mut).into_iter().flatten()
        {
            let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            let row = (text("table_name"), text("id"), "updated_at".to_owned());
            let base = time::parse(&text("base_updated_at"));
            if let (Some(times), Some(base)) = (self.known.times.get(&row), base)
                && let Some(own) = times.get(&base)
            {
                record["base_updated_at"] = json!(time::format(*own));
            }
        }
        request
    }

    /// Ends the session: its files are removed, its differences are returned.
    pub(super) fn over(self) -> BTreeMap<String, Vec<String>> {
        drop(self.server);
        drop(self.folder);
        self.found
    }
}

/// The results of the records of a push.
fn outcomes(answer: &Json) -> String {
    let results = |name: &str| answer.get(name).and_then(Json::as_array).into_iter().flatten();
    let words = results("accepted").chain(results("rejected")).map(|result| {
        let text = |name: &str| result[name].as_str().unwrap_or_default();
        format!("`{} {}`", text("status"), text("reason_code")).replace(" `", "`")
    });
    words.collect::<Vec<_>>().join(", ")
}

/// A recorded exchange.
#[track_caller]
pub(super) fn fixture(name: &str) -> Json {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// The names of the recorded exchanges.
pub(super) fn names() -> BTreeSet<String> {
    let files = std::fs::read_dir(folder()).unwrap();
    files.map(|file| file.unwrap().path().file_stem().unwrap().display().to_string()).collect()
}

/// The number of a recorded exchange, `93b` say.
pub(super) fn number(name: &str) -> &str {
    name.split('-').next().unwrap_or_default()
}

/// Where the recorded exchanges are.
fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/fixtures/wire")
}
