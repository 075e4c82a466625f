//! The controlled server: one database file, one proxy, and server instances that are replaced with
//! their token secret.

use crate::gate::{Gate, Way};
use crate::order::Order;
use crate::tables;
use anyhow::{Context as _, Result, bail};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rejoin_protocol::argument::{Parameter, ParameterType};
use rejoin_protocol::{PROTOCOL_HEADER, USER_HEADER, Value};
use rejoin_server::{Config, JwtConfig, PushPolicy, Server, StreamConfig, TableConfig};
use rejoin_story_server::cell;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::net::TcpListener;

const ISSUER: &str = "rejoin-story-server";
const AUDIENCE: &str = "stories";

/// How long a command waits while a request writes to the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The controlled server.
#[derive(Debug)]
pub(crate) struct Served {
    server: Server,
    behind: SocketAddr,
    gate: Gate,
    /// How often the secret was changed; `None` if users are identified by a header.
    generation: Option<u32>,
    /// Whether it serves a table of the log.
    log: bool,
    is_reachable: bool,
    path: PathBuf,
    _folder: TempDir,
}

impl Served {
    /// Starts on a free port with empty tables.
    pub(crate) async fn start(tokens: bool, log: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("server.db");
        for tables in [tables::SERVER, tables::GUIDES] {
            connect(&path)?.execute_batch(tables)?;
        }
        let generation = tokens.then_some(0);
        let (server, behind) = serve(&path, generation, log).await?;
        let gate = Gate::start(Way::Open(behind)).await?;
        Ok(Self {
            server,
            behind,
            gate,
            generation,
            log,
            is_reachable: true,
            path,
            _folder: folder,
        })
    }

    /// The address for devices.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.gate.address())
    }

    /// Executes a command and returns the response.
    pub(crate) async fn carry_out(&mut self, order: Order) -> Result<Json> {
        match order {
            Order::Token { user, seconds } => Ok(json!({"token": self.token(&user, seconds)?})),
            Order::ExpireAll => self.expire_all().await,
            Order::Sql { sql, params } => self.sql(&sql, &params),
            Order::Rows { sql, params, exact } => self.rows(&sql, &params, exact),
            Order::Digest { user, table } => {
                self.ask(&user, &format!("/sync/digest?table={table}")).await
            }
            Order::Subscribe { user, bucket } => {
                self.server.grant(&user, &bucket)?;
                Ok(json!({"ok": true}))
            }
            Order::Schema => Ok(json!({"schema": self.ask("anybody", "/sync/schema").await?})),
            Order::Stop => self.turn(Way::Shut).await,
            Order::Hang => self.turn(Way::Silent).await,
            Order::Go => self.turn(Way::Open(self.behind)).await,
            Order::Quit => Ok(json!({"ok": true})),
        }
    }

    fn token(&self, user: &str, seconds: i64) -> Result<String> {
        let generation = self.generation.context("tokens require `--tokens`")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().cast_signed();
        let claims = json!({"sub": user, "iss": ISSUER, "aud": AUDIENCE, "exp": now + seconds});
        let key = EncodingKey::from_secret(secret(generation).as_bytes());
        Ok(encode(&Header::new(Algorithm::HS256), &claims, &key)?)
    }

    /// Replaces the server instance with one that uses the same file and another secret.
    async fn expire_all(&mut self) -> Result<Json> {
        let generation = self.generation.context("tokens require `--tokens`")? + 1;
        self.generation = Some(generation);
        self.server.shutdown();
        (self.server, self.behind) = serve(&self.path, self.generation, self.log).await?;
        if self.is_reachable {
            self.turn(Way::Open(self.behind)).await?;
        }
        Ok(json!({"ok": true}))
    }

    async fn turn(&mut self, way: Way) -> Result<Json> {
        self.is_reachable = matches!(way, Way::Open(_));
        self.gate.turn(way).await;
        Ok(json!({"ok": true}))
    }

    fn sql(&self, sql: &str, params: &[Json]) -> Result<Json> {
        let connection = connect(&self.path)?;
        let before = connection.total_changes();
        if params.is_empty() {
            connection.execute_batch(sql)?;
        } else {
            connection.execute(sql, rusqlite::params_from_iter(values(params)?))?;
        }
        Ok(json!({"changes": connection.total_changes() - before}))
    }

    fn rows(&self, sql: &str, params: &[Json], exact: bool) -> Result<Json> {
        let connection = connect(&self.path)?;
        let mut statement = connection.prepare(sql)?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let form = if exact { cell::exact } else { cell::plain };
        let row = |row: &rusqlite::Row<'_>| {
            (0..columns.len()).map(|at| Ok(form(&row.get::<_, Value>(at)?))).collect()
        };
        let found = statement.query_map(rusqlite::params_from_iter(values(params)?), row)?;
        let rows = found.collect::<rusqlite::Result<Vec<Vec<Json>>>>()?;
        Ok(json!({"columns": columns, "rows": rows}))
    }

    /// The server's response to a user, even while it is unreachable for devices.
    async fn ask(&self, user: &str, path: &str) -> Result<Json> {
        let mut headers = vec![(PROTOCOL_HEADER.to_owned(), "1".to_owned())];
        headers.push(match self.generation {
            None => (USER_HEADER.to_owned(), user.to_owned()),
            Some(_) => ("Authorization".to_owned(), format!("Bearer {}", self.token(user, 60)?)),
        });
        let (status, _, body) = self.server.handle("GET", path, &headers, "").await;
        if status != 200 {
            bail!("{path}: {status} {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

/// A server for the file, on a port that only the proxy uses.
async fn serve(path: &PathBuf, generation: Option<u32>, log: bool) -> Result<(Server, SocketAddr)> {
    let cards = TableConfig::new("card").with_bucket("board", "board:");
    let allow = "SELECT edits FROM board_member WHERE user_id = :user AND board = :board";
    let board = StreamConfig::new("board", "board:{board}", allow);
    let mut config = Config::new(path)
        .with_table(TableConfig::owned("task", "user_id"))
        .with_table(TableConfig::child("tag", "task", "task_id"))
        .with_table(TableConfig::owned("sample", "user_id"))
        .with_table(TableConfig::owned("tasks", "owner_id"))
        .with_table(cards.with_push(PushPolicy::Bucket))
        .with_stream(board.with_parameter(Parameter::new("board", ParameterType::Integer)));
    if let Some(generation) = generation {
        config = config.with_jwt(JwtConfig::new(secret(generation), ISSUER, AUDIENCE));
    }
    if log {
        config = config.with_table(TableConfig::log("seat", "event", "event:"));
    }
    let server = Server::open(config)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    Ok((server, address))
}

fn secret(generation: u32) -> String {
    format!("a secret of a story, at least thirty-two bytes long, number {generation}")
}

fn values(cells: &[Json]) -> Result<Vec<Value>> {
    cells.iter().map(cell::value).collect()
}

fn connect(path: &PathBuf) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}
