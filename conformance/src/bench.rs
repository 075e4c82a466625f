//! Test bench for the scenarios: users, devices, created rows, and the requests of a plain client.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rejoin_protocol::time;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::client::{Ask, Client, Exchange};
use crate::expect::{self, Ended, ScenarioResult, fail, hold};
use crate::news::{Awaited, News};
use crate::tables::{Child, Table};

/// Pause between two polls for a change that has not arrived yet.
const PAUSE: Duration = Duration::from_millis(20);

/// A row that a scenario created.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) user: usize,
    pub(crate) id: String,
    /// The version in the last response from the server.
    pub(crate) version: String,
}

/// A device that has pulled everything up to its checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) client_id: String,
    pub(crate) checkpoint: i64,
}

/// The response to a push.
#[derive(Debug)]
pub(crate) struct Pushed(pub(crate) Value);

impl Pushed {
    /// The result for one record.
    pub(crate) fn of(&self, id: &str) -> ScenarioResult<&Value> {
        let lists = ["accepted", "rejected"].map(|list| expect::list(&self.0, list));
        for list in lists {
            if let Some(found) = list?.iter().find(|result| result["id"] == id) {
                return Ok(found);
            }
        }
        fail(format!("the response has no result for row {id}"))
    }

    /// Returns the result for a record; fails unless it has this status and reason.
    pub(crate) fn ended(
        &self,
        id: &str,
        status: &str,
        reason: Option<&str>,
    ) -> ScenarioResult<&Value> {
        let result = self.of(id)?;
        expect::is(result, "status", status)?;
        expect::is(result, "reason_code", reason)?;
        Ok(result)
    }
}

/// One server and the users that connect to it.
#[derive(Debug)]
pub(crate) struct Bench {
    client: Client,
    users: Vec<(String, String)>,
    patience: Duration,
    pub(crate) version: i64,
    pub(crate) hash: String,
    pub(crate) place: Table,
    pub(crate) child: Option<Child>,
    pub(crate) read_only: Option<String>,
    /// One reader per user.
    pub(crate) readers: Vec<Reader>,
    made: Vec<(usize, String, String)>,
    exchanges: Vec<Exchange>,
    run: String,
    count: u32,
}

impl Bench {
    pub(crate) fn new(client: Client, users: Vec<(String, String)>, patience: Duration) -> Self {
        Self {
            client,
            users,
            patience,
            version: 0,
            hash: String::new(),
            place: Table::default(),
            child: None,
            read_only: None,
            readers: Vec::new(),
            made: Vec::new(),
            exchanges: Vec::new(),
            run: Uuid::new_v4().simple().to_string(),
            count: 0,
        }
    }

    /// Clears the recorded exchanges before a scenario.
    pub(crate) fn begin(&mut self) {
        self.exchanges.clear();
    }

    /// The exchanges of the current scenario.
    pub(crate) fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// The error for a setup that failed before the first scenario.
    pub(crate) fn cannot_begin(&self, ended: Ended) -> anyhow::Error {
        let (Ended::Failed(why) | Ended::Skipped(why)) = ended;
        let last = self.exchanges.last().map(|last| {
            format!(
                "\n{} {} {}\n{} {}",
                last.method, last.path, last.sent, last.status, last.received
            )
        });
        anyhow::anyhow!("{why}{}", last.unwrap_or_default())
    }

    pub(crate) fn users(&self) -> std::ops::Range<usize> {
        0..self.users.len()
    }

    /// The second user.
    pub(crate) fn other(&self) -> ScenarioResult<usize> {
        if self.users.len() > 1 { Ok(1) } else { expect::skip("only one user was given") }
    }

    /// The header that identifies this user.
    pub(crate) fn credentials(&self, user: usize) -> Vec<(String, String)> {
        self.users.get(user).cloned().into_iter().collect()
    }

    /// Whether users authenticate with a bearer token, so that an invalid token can be tested.
    pub(crate) fn by_token(&self) -> bool {
        self.users.first().is_some_and(|(name, _)| name == "authorization")
    }

    /// Sends several requests concurrently.
    pub(crate) fn send(&mut self, asks: &[Ask]) -> Vec<Exchange> {
        let exchanges = self.client.send(asks);
        self.exchanges.extend(exchanges.iter().cloned());
        exchanges
    }

    /// Sends one request and returns any response; fails if there is none.
    pub(crate) fn ask(&mut self, ask: Ask) -> ScenarioResult<Exchange> {
        match self.send(&[ask]).pop() {
            Some(exchange) if exchange.status != 0 => Ok(exchange),
            Some(exchange) => fail(exchange.received),
            None => fail("no answer"),
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> ScenarioResult<Exchange> {
        let headers = self.credentials(0);
        self.ask(Ask { method: "GET", path: path.to_owned(), headers, body: String::new() })
    }

    /// A request body with the common members; `body` may override them.
    pub(crate) fn framed(&self, client_id: &str, body: Value) -> Value {
        let mut whole = Map::new();
        whole.insert("client_id".into(), json!(client_id));
        whole.insert("schema_version".into(), json!(self.version));
        whole.insert("schema_hash".into(), json!(self.hash));
        if let Value::Object(body) = body {
            whole.extend(body);
        }
        Value::Object(whole)
    }

    /// A POST with this body, unchanged.
    pub(crate) fn asking(&self, user: usize, path: &str, body: &Value) -> Ask {
        let headers = self.credentials(user);
        Ask { method: "POST", path: path.to_owned(), headers, body: body.to_string() }
    }

    pub(crate) fn post(
        &mut self,
        user: usize,
        path: &str,
        body: &Value,
    ) -> ScenarioResult<Exchange> {
        self.ask(self.asking(user, path, body))
    }

    /// Sends a POST that must return 200 with an object and without any Rejoin extension.
    pub(crate) fn good(&mut self, user: usize, path: &str, body: &Value) -> ScenarioResult<Value> {
        let exchange = self.post(user, path, body)?;
        expect::equal("the status", exchange.status, 200)?;
        let answer = exchange.json();
        hold(answer.is_object(), "the response is not a JSON object")?;
        hold(answer.get("rejoin").is_none(), "the response has an unrequested extension")?;
        Ok(answer)
    }

    /// A client id that no device has used.
    pub(crate) fn new_client(&mut self) -> String {
        self.count += 1;
        format!("conformance-{}-{}", self.run, self.count)
    }

    /// Registers a new device.
    pub(crate) fn device(&mut self, user: usize) -> ScenarioResult<String> {
        let client_id = self.new_client();
        let body = self.framed(&client_id, json!({"platform": "conformance"}));
        self.good(user, "/sync/register", &body)?;
        Ok(client_id)
    }

    /// The current time of this machine.
    pub(crate) fn now() -> String {
        time::format(now())
    }

    /// A record for the table under test.
    pub(crate) fn record(&self, operation: &str, id: &str, data: &Value) -> Value {
        json!({"id": id, "table_name": self.place.name, "operation": operation, "data": data,
               "client_updated_at": Self::now()})
    }

    /// The columns that a new row requires, with this text.
    pub(crate) fn data(&self, text: &str) -> Value {
        let mut data: Map<String, Value> = self.place.required.iter().cloned().collect();
        data.insert(self.place.text.clone(), json!(text));
        Value::Object(data)
    }

    /// A new row id. `tidy` deletes the row at the end.
    pub(crate) fn new_id(&mut self, user: usize) -> String {
        let table = self.place.name.clone();
        self.new_id_in(user, &table)
    }

    pub(crate) fn new_id_in(&mut self, user: usize, table: &str) -> String {
        let id = Uuid::new_v4().to_string();
        self.made.push((user, table.to_owned(), id.clone()));
        id
    }

    /// Pushes records from the user's reader device.
    pub(crate) fn push(&mut self, user: usize, records: &[Value]) -> ScenarioResult<Pushed> {
        let body = self.pushing(user, records);
        let answer = self.good(user, "/sync/push", &body)?;
        expect::is(&answer, "checkpoint", 0)?;
        expect::instant(&answer, "server_time")?;
        let count =
            expect::list(&answer, "accepted")?.len() + expect::list(&answer, "rejected")?.len();
        expect::equal("results of the push", count, records.len())?;
        Ok(Pushed(answer))
    }

    pub(crate) fn pushing(&self, user: usize, records: &[Value]) -> Value {
        let client = self.readers.get(user).map_or("", |reader| reader.client_id.as_str());
        self.framed(client, json!({"changes": records}))
    }

    /// Creates a row; the server must accept it.
    pub(crate) fn create(&mut self, user: usize, text: &str) -> ScenarioResult<Row> {
        let data = self.data(text);
        self.create_with(user, &data)
    }

    pub(crate) fn create_with(&mut self, user: usize, data: &Value) -> ScenarioResult<Row> {
        let id = self.new_id(user);
        let record = self.record("create", &id, data);
        let pushed = self.push(user, &[record])?;
        let result = pushed.ended(&id, "applied", None)?;
        let version = expect::text(result, "server_updated_at")?.to_owned();
        Ok(Row { user, id, version })
    }

    /// Updates a row from its last seen version; the server must accept it.
    pub(crate) fn edit(&mut self, row: &mut Row, data: &Value) -> ScenarioResult {
        let mut record = self.record("update", &row.id, data);
        record["base_updated_at"] = json!(row.version);
        let pushed = self.push(row.user, &[record])?;
        let result = pushed.ended(&row.id, "applied", None)?;
        expect::text(result, "server_updated_at")?.clone_into(&mut row.version);
        Ok(())
    }

    /// Deletes a row; the server must accept it.
    pub(crate) fn remove(&mut self, row: &Row) -> ScenarioResult<Value> {
        let record = self.record("delete", &row.id, &Value::Null);
        let pushed = self.push(row.user, &[record])?;
        Ok(pushed.ended(&row.id, "applied", None)?.clone())
    }

    /// One page of a pull.
    pub(crate) fn page(
        &mut self,
        user: usize,
        client_id: &str,
        ask: Value,
    ) -> ScenarioResult<Value> {
        let body = self.framed(client_id, ask);
        let page = self.good(user, "/sync/pull", &body)?;
        expect::number(&page, "checkpoint")?;
        Ok(page)
    }

    /// Pulls all pages after a checkpoint. Returns them and the final checkpoint.
    pub(crate) fn pull_from(
        &mut self,
        user: usize,
        mut from: i64,
        limit: i64,
    ) -> ScenarioResult<(Vec<Value>, i64)> {
        let client_id = self.reader(user)?.client_id;
        let mut pages = Vec::new();
        loop {
            let page = self.page(user, &client_id, json!({"checkpoint": from, "limit": limit}))?;
            hold(
                page["snapshot_required"] != true,
                "the server requires a snapshot from a device that is up to date",
            )?;
            let next = expect::number(&page, "checkpoint")?;
            let more = page["has_more"] == true;
            hold(!more || next > from, "`has_more` is true but the checkpoint does not advance")?;
            from = next;
            pages.push(page);
            if !more {
                return Ok((pages, from));
            }
        }
    }

    /// Pulls everything that is in the log and returns the pages and the final checkpoint.
    pub(crate) fn pull(&mut self, user: usize) -> ScenarioResult<(Vec<Value>, i64)> {
        let from = self.reader(user)?.checkpoint;
        let (pages, checkpoint) = self.pull_from(user, from, 1_000)?;
        self.readers[user].checkpoint = checkpoint;
        Ok((pages, checkpoint))
    }

    /// Pulls everything that was written and returns the final checkpoint: writes a row and waits
    /// for it, because the log may be behind.
    pub(crate) fn catch_up(&mut self, user: usize) -> ScenarioResult<i64> {
        let last = self.create(user, "last")?;
        self.pull_row(user, &last.id)?;
        Ok(self.reader(user)?.checkpoint)
    }

    /// Pulls until this row, which was written once, was returned.
    pub(crate) fn pull_row(&mut self, user: usize, id: &str) -> ScenarioResult<News> {
        self.pull_until(user, &[Awaited::Row(id)])
    }

    /// Pulls until these rows, which were written once, were returned.
    pub(crate) fn pull_rows(&mut self, user: usize, ids: &[String]) -> ScenarioResult<News> {
        let rows: Vec<Awaited<'_>> = ids.iter().map(|id| Awaited::Row(id)).collect();
        self.pull_until(user, &rows)
    }

    /// Pulls until every one of these states was returned, or until the timeout (`--patience`).
    /// Then the scenario compares the last state of a row that was returned.
    pub(crate) fn pull_until(
        &mut self,
        user: usize,
        states: &[Awaited<'_>],
    ) -> ScenarioResult<News> {
        let begun = Instant::now();
        let mut news = News::default();
        loop {
            for page in &self.pull(user)?.0 {
                news.take(page)?;
            }
            let missing = states.iter().filter(|state| !state.is_in(&news, &self.place.text));
            let missing: Vec<&str> = missing.map(Awaited::id).collect();
            if missing.is_empty() {
                return Ok(news);
            }
            if begun.elapsed() > self.patience {
                let absent = missing.iter().find(|id| !news.received.iter().any(|one| one == *id));
                return match absent {
                    Some(id) => fail(format!("no pull returns row {id}")),
                    None => Ok(news),
                };
            }
            std::thread::sleep(PAUSE);
        }
    }

    pub(crate) fn reader(&self, user: usize) -> ScenarioResult<Reader> {
        self.readers.get(user).cloned().ok_or_else(|| Ended::Skipped("no such user".to_owned()))
    }

    /// Reads all pages of a snapshot. Returns the records and the checkpoint of the last page.
    pub(crate) fn snapshot(
        &mut self,
        user: usize,
        client_id: &str,
        limit: i64,
    ) -> ScenarioResult<(Vec<Value>, i64)> {
        let mut records = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let ask = json!({"cursor": cursor, "limit": limit});
            let body = self.framed(client_id, ask);
            let page = self.good(user, "/sync/snapshot", &body)?;
            records.extend(expect::list(&page, "records")?.iter().cloned());
            if page["has_more"] != true {
                hold(page.get("cursor").is_none(), "the last page has a cursor")?;
                return Ok((records, expect::number(&page, "checkpoint")?));
            }
            hold(page["cursor"].is_object(), "a page before the last has no cursor")?;
            hold(page["cursor"] != cursor, "the cursor does not advance")?;
            cursor = page["cursor"].clone();
        }
    }

    /// Deletes the created rows. Returns those that could not be deleted.
    pub(crate) fn tidy(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        // Reverse order: children were created after their parents.
        let made: Vec<_> = std::mem::take(&mut self.made).into_iter().rev().collect();
        for user in self.users() {
            let own: Vec<_> = made.iter().filter(|(of, ..)| *of == user).collect();
            for some in own.chunks(100) {
                let gone = |(_, table, id): &&(usize, String, String)| {
                    json!({"id": id, "table_name": table, "operation": "delete",
                           "client_updated_at": Self::now()})
                };
                let records: Vec<Value> = some.iter().map(gone).collect();
                let pushed = self.push(user, &records);
                for (_, table, id) in some {
                    let result = pushed.as_ref().ok().and_then(|pushed| pushed.of(id).ok());
                    let is_gone = result.is_some_and(|result| {
                        result["status"] == "applied" || result["reason_code"] == "record_not_found"
                    });
                    if !is_gone {
                        left.push(format!("{table} {id}"));
                    }
                }
            }
        }
        left
    }
}

/// Microseconds since 1970.
#[allow(clippy::disallowed_methods)] // A standalone program: no host provides the time.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
