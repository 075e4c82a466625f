//! Request handling: authentication, app version, method, body, schema, client, execution.

use serde_json::{Map, Value, json};

use crate::answer::{Pushed, Registered, Response, Version};
use crate::clients::Client;
use crate::control::{Fault, Outage};
use crate::pull::Pull;
use crate::push::Outcome;
use crate::request::{Change, Invalid, Members};
use crate::schema;
use crate::server::{Identity, PlainServer};
use crate::snapshot::Snapshot;
use crate::time;

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// HTTP method.
    pub method: String,
    /// Path, without a query.
    pub path: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body; empty for none.
    pub body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// The response of a list; the schema hash depends on the order of its members.
#[derive(serde::Serialize)]
struct Listed<T> {
    schema_version: i64,
    schema_hash: String,
    server_time: String,
    tables: Vec<T>,
}

impl<T> Listed<T> {
    fn new(version: Version, server_time: String, tables: Vec<T>) -> Self {
        let Version { schema_version, schema_hash } = version;
        Self { schema_version, schema_hash, server_time, tables }
    }
}

/// The four POST endpoints.
enum Work {
    Register { client: String, name: Option<String>, platform: String, app_version: String },
    Pull(Pull),
    Push { client: String, changes: Vec<Change> },
    Snapshot(Snapshot),
}

impl Work {
    fn read(path: &str, members: Members<'_>) -> Result<Self, Invalid> {
        Ok(match path {
            "/sync/register" => Self::Register {
                client: members.text("client_id")?,
                name: members.optional_text("client_name")?,
                platform: members.text("platform")?,
                app_version: members.text("app_version")?,
            },
            "/sync/pull" => Self::Pull(Pull::read(members)?),
            "/sync/push" => {
                Self::Push { client: members.text("client_id")?, changes: members.changes()? }
            }
            _ => Self::Snapshot(Snapshot::read(members)?),
        })
    }

    fn failed(&self) -> Response {
        Response::error(500, failure(self.path()))
    }

    fn path(&self) -> &'static str {
        match self {
            Self::Register { .. } => "/sync/register",
            Self::Pull(_) => "/sync/pull",
            Self::Push { .. } => "/sync/push",
            Self::Snapshot(_) => "/sync/snapshot",
        }
    }
}

/// The error text of a 500 per endpoint.
fn failure(path: &str) -> &'static str {
    match path {
        "/sync/register" => "failed to register client",
        "/sync/pull" => "failed to pull changes",
        "/sync/push" => "failed to push changes",
        "/sync/snapshot" => "failed to snapshot",
        "/sync/tables" => "failed to load table metadata",
        _ => "failed to load schema",
    }
}

impl PlainServer {
    /// Handles a request; `None` if the connection ends without a response.
    pub fn handle(&mut self, request: &Request) -> Option<Response> {
        if request.path == "/healthz" {
            return Some(Response::new(200, &json!({"status": "ok"})));
        }
        let user = match self.identify(request) {
            Ok(user) => user,
            Err(error) => return Some(Response::error(401, error)),
        };
        let version = request.header("X-App-Version");
        if version.is_some_and(|version| self.too_old(version).unwrap_or(true)) {
            return Some(Response::error(426, "client upgrade required"));
        }
        let allowed = match request.path.as_str() {
            "/sync/register" | "/sync/pull" | "/sync/push" | "/sync/snapshot" => "POST",
            "/sync/schema" | "/sync/tables" => "GET",
            _ => {
                let body = b"404 page not found\n".to_vec();
                let headers =
                    vec![("Content-Type".to_owned(), "text/plain; charset=utf-8".to_owned())];
                return Some(Response { status: 404, headers, body });
            }
        };
        if request.method != allowed {
            return Some(Response::error(405, "method not allowed").with("Allow", allowed));
        }
        if let Some(response) = self.out_of_order(&request.path) {
            return Some(response);
        }
        if allowed == "GET" { Some(self.list(&request.path)) } else { self.post(&user, request) }
    }

    /// Like [`PlainServer::handle`], for a request with the user in a header.
    pub fn ask(&mut self, user: &str, method: &str, path: &str, body: Vec<u8>) -> Option<Response> {
        let headers = vec![("X-User-ID".to_owned(), user.to_owned())];
        let (method, path) = (method.to_owned(), path.to_owned());
        self.handle(&Request { method, path, headers, body })
    }

    /// The user of a request, in lower case.
    fn identify(&self, request: &Request) -> Result<String, &'static str> {
        let user = match &self.config.identity {
            Identity::Header => request.header("X-User-ID").ok_or("missing user identity")?,
            Identity::Bearer(tokens) => {
                let header = request.header("Authorization");
                let token = header.and_then(|header| header.strip_prefix("Bearer "));
                let token = token.ok_or("missing or malformed authorization header")?;
                let user = tokens.get(token).ok_or("invalid token")?;
                user.as_deref().ok_or("token missing user claim")?
            }
        };
        Ok(user.to_lowercase())
    }

    /// Whether a version is below the minimum; `None` if it is not a version.
    fn too_old(&self, version: &str) -> Option<bool> {
        let Some(least) = &self.config.minimum_version else { return Some(false) };
        Some(numbers(version)? < numbers(least)?)
    }

    fn out_of_order(&self, path: &str) -> Option<Response> {
        let wait = |status: u16, error: &str, seconds: u32| {
            let body = json!({"error": error, "retry_after": seconds});
            Response::new(status, &body).with("Retry-After", &seconds.to_string())
        };
        let posted = !matches!(path, "/sync/schema" | "/sync/tables");
        match self.outage? {
            Outage::Closed if posted => {
                Some(wait(503, "service temporarily unavailable", self.config.retry_after))
            }
            Outage::Closed | Outage::Refusing => Some(Response::error(500, failure(path))),
            Outage::TooMany(seconds) => Some(wait(429, "Too Many Requests", seconds)),
            Outage::Maintenance(seconds) => Some(wait(503, "Service Unavailable", seconds)),
        }
    }

    /// Handles the two list endpoints.
    fn list(&mut self, path: &str) -> Response {
        let listed =
            self.version().and_then(|version| Ok((version, schema::schema(&self.config.tables)?)));
        let Ok((version, tables)) = listed else { return Response::error(500, failure(path)) };
        let server_time = time::in_message(self.clock.read());
        if path == "/sync/tables" {
            let tables = schema::metadata(&self.config.tables);
            return Response::new(200, &Listed::new(version, server_time, tables));
        }
        Response::new(200, &Listed::new(version, server_time, tables))
    }

    fn post(&mut self, user: &str, request: &Request) -> Option<Response> {
        let invalid = Some(Response::error(400, "invalid request body"));
        let Ok(body) = serde_json::from_slice::<Map<String, Value>>(&request.body) else {
            return invalid;
        };
        let mut required = vec!["client_id", "schema_version", "schema_hash"];
        if matches!(request.path.as_str(), "/sync/register" | "/sync/push") {
            required.remove(0);
        }
        if let Some(missing) = required.iter().find(|name| !body.contains_key(**name)) {
            return Some(Response::error(400, &format!("{missing} is required")));
        }
        let members = Members(&body);
        let parsed = members.integer("schema_version").and_then(|version| {
            Ok((version, members.text("schema_hash")?, Work::read(&request.path, members)?))
        });
        let Ok((version, hash, work)) = parsed else { return invalid };
        let fault = self.faults.pop_front();
        match fault {
            Some(Fault::HangsUpBefore) => return None,
            Some(Fault::FailsBeforeCommit) => return Some(work.failed()),
            Some(Fault::Transient) => {
                let kept = self.outage.replace(Outage::Closed);
                let answer = self.out_of_order(&request.path);
                self.outage = kept;
                return answer;
            }
            _ => {}
        }
        let answer = match self.version() {
            Ok(schema) => self.gate(user, &work, schema, version, &hash)?,
            Err(_) => work.failed(),
        };
        match fault {
            Some(Fault::HangsUpAfter) => None,
            Some(Fault::FailsAfterCommit) => Some(work.failed()),
            _ => Some(answer),
        }
    }

    /// Checks the schema, then executes the request.
    fn gate(
        &mut self,
        user: &str,
        work: &Work,
        schema: Version,
        version: i64,
        hash: &str,
    ) -> Option<Response> {
        let bootstrap = matches!(work, Work::Register { .. }) && version == 0 && hash.is_empty();
        if !bootstrap && (version, hash) != (schema.schema_version, schema.schema_hash.as_str()) {
            return Some(Response::new(
                409,
                &json!({
                    "code": "schema_mismatch",
                    "message": "client schema does not match server schema",
                    "server_schema_version": schema.schema_version,
                    "server_schema_hash": schema.schema_hash,
                }),
            ));
        }
        match work {
            Work::Register { .. } => Some(self.register(user, work, schema)),
            Work::Pull(pull) => {
                let pulled = self.pull(user, pull, schema);
                Some(pulled.map_or_else(|| work.failed(), |pulled| Response::new(200, &pulled)))
            }
            Work::Push { client, changes } => self.push(user, client, changes, schema, work),
            // An index before the first table crashes the process.
            Work::Snapshot(ask)
                if ask.table < 0 && self.clients.get(user, &ask.client).is_some() =>
            {
                None
            }
            Work::Snapshot(ask) => Some(match self.snapshot(user, ask, schema) {
                Some(page) => Response::new(200, &page),
                None => Response::error(404, "client not registered"),
            }),
        }
    }

    fn register(&mut self, user: &str, work: &Work, schema: Version) -> Response {
        let Work::Register { client, name, platform, app_version } = work else {
            return work.failed();
        };
        match self.too_old(app_version) {
            _ if app_version.is_empty() => {}
            Some(false) => {}
            Some(true) => return Response::error(426, "client upgrade required"),
            None => return work.failed(),
        }
        let key = (user.to_owned(), client.clone());
        if !self.clients.0.contains_key(&key) {
            let fresh = Client {
                id: self.ids.next(),
                name: None,
                platform: String::new(),
                app_version: String::new(),
                buckets: vec![format!("user:{user}"), "global".to_owned()],
                last_sync: None,
                last_pull: None,
                last_push: None,
                last_pull_seq: None,
                active: true,
            };
            self.clients.0.insert(key, fresh);
        }
        let Some(known) = self.clients.get(user, client) else { return work.failed() };
        known.name.clone_from(name);
        known.platform.clone_from(platform);
        known.app_version.clone_from(app_version);
        known.active = true;
        let (id, checkpoint) = (known.id.clone(), known.last_pull_seq.unwrap_or(0));
        let last_sync_at = known.last_sync_text();
        let server_time = time::in_message(self.clock.read());
        Response::new(200, &Registered { id, server_time, last_sync_at, checkpoint, schema })
    }

    fn push(
        &mut self,
        user: &str,
        client: &str,
        changes: &[Change],
        schema: Version,
        work: &Work,
    ) -> Option<Response> {
        let stale = self.config.stale_clients.contains(client);
        match self.clients.get(user, client) {
            Some(known) if !(stale && known.last_sync.is_some()) => {}
            _ => return Some(work.failed()),
        }
        let (accepted, rejected) = match self.carry_out(user, changes) {
            Outcome::Verdicts(accepted, rejected) => (accepted, rejected),
            Outcome::Aborted => return Some(work.failed()),
            Outcome::Panicked => return None,
        };
        let now = self.clock.read();
        if let Some(known) = self.clients.get(user, client) {
            known.last_push = Some(now);
            known.last_sync = Some(now);
        }
        let server_time = time::in_message(now);
        Some(Response::new(200, &Pushed { accepted, rejected, checkpoint: 0, server_time, schema }))
    }
}

/// `1.2.0-beta` as 1, 2, 0.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let plain = version.strip_prefix('v').unwrap_or(version).split(['-', '+']).next()?;
    let parts: Vec<u64> = plain.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}
