//! A device without an engine: sends protocol requests to the server and reads the responses.

use rejoin_protocol::SUBSCRIPTIONS_HEADER;
use rejoin_protocol::wire::pull::PullResponse;
use rejoin_protocol::wire::push::{Ending, PushResponse, Verdict};
use rejoin_protocol::wire::row::RowImage;
use rejoin_protocol::wire::snapshot::SnapshotResponse;
use rejoin_protocol::wire::subscription::{self, Subscription};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::World;

/// Rows by `table/id`; a deleted one is `None`.
pub(crate) type Rows = std::collections::BTreeMap<String, Option<Value>>;

pub(crate) struct Device<'a> {
    pub(crate) world: &'a World,
    pub(crate) user: String,
    pub(crate) client_id: String,
    pub(crate) version: i64,
    pub(crate) hash: String,
    pub(crate) epoch: String,
    pub(crate) cursor: String,
    pub(crate) request: i64,
    pub(crate) seq: i64,
    /// The subscriptions that each request names.
    pub(crate) subscriptions: Vec<Subscription>,
}

impl<'a> Device<'a> {
    /// A registered device of this user.
    pub(crate) async fn registered(world: &'a World, user: &str, client_id: &str) -> Self {
        let mut device = Self {
            world,
            user: user.into(),
            client_id: client_id.into(),
            version: 0,
            hash: String::new(),
            epoch: String::new(),
            cursor: String::new(),
            request: 0,
            seq: 0,
            subscriptions: Vec::new(),
        };
        device.register().await;
        device
    }

    /// A v0.1.2 device, without extensions.
    pub(crate) async fn plain(world: &'a World, user: &str, client_id: &str) -> Self {
        let mut device = Self::registered(world, user, client_id).await;
        let body = json!({"schema_version": 0, "schema_hash": ""});
        let (status, answer) = device.post("/sync/register", body).await;
        assert_eq!((status, answer.get("rejoin")), (200, None));
        device
    }

    pub(crate) async fn post(&mut self, path: &str, mut body: Value) -> (u16, Value) {
        self.request += 1;
        let frame = json!({
            "client_id": self.client_id, "schema_version": self.version, "schema_hash": self.hash,
        });
        for (name, value) in frame.as_object().unwrap() {
            body.as_object_mut().unwrap().entry(name.clone()).or_insert(value.clone());
        }
        if let Some(rejoin) = body.get_mut("rejoin").and_then(Value::as_object_mut) {
            rejoin.insert("request".into(), json!(self.request));
        }
        let names = subscription::header(&self.subscriptions).unwrap();
        let mut headers = vec![("X-User-ID", self.user.as_str())];
        if !self.subscriptions.is_empty() {
            headers.push((SUBSCRIPTIONS_HEADER, &names));
        }
        let (status, _, answer) = self.world.send("POST", path, &headers, body.to_string()).await;
        (status, answer)
    }

    async fn good<T: DeserializeOwned>(&mut self, path: &str, body: Value) -> T {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_value(answer).unwrap()
    }

    pub(crate) async fn register(&mut self) -> Value {
        let hello =
            json!({"protocol": 1, "capabilities": ["groups", "events"], "cursor": self.cursor});
        let answer: Value = self
            .good(
                "/sync/register",
                json!({"schema_version": 0, "schema_hash": "", "rejoin": hello}),
            )
            .await;
        self.version = answer["schema_version"].as_i64().unwrap();
        self.hash = answer["schema_hash"].as_str().unwrap().into();
        self.epoch = answer["rejoin"]["epoch"].as_str().unwrap().into();
        answer
    }

    pub(crate) async fn snapshot_page(
        &mut self,
        cursor: Option<Value>,
        limit: i64,
    ) -> SnapshotResponse {
        let rejoin = json!({"epoch": if cursor.is_some() { self.epoch.as_str() } else { "" }});
        self.good("/sync/snapshot", json!({"cursor": cursor, "limit": limit, "rejoin": rejoin}))
            .await
    }

    /// All pages: returns the rows as `table/id`, and keeps the cursor for pulls.
    pub(crate) async fn snapshot(&mut self, limit: i64) -> Vec<String> {
        let mut names = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.snapshot_page(cursor, limit).await;
            let rejoin = page.rejoin.unwrap();
            assert!(!rejoin.restart);
            self.cursor = rejoin.pull_cursor;
            names.extend(objects(&rejoin.sets).into_iter().map(|(name, _)| name));
            if !page.has_more {
                return names;
            }
            cursor = Some(serde_json::to_value(page.cursor.unwrap()).unwrap());
        }
    }

    pub(crate) async fn pull_page(&mut self, limit: i64) -> PullResponse {
        let rejoin = json!({"cursor": self.cursor});
        let page: PullResponse =
            self.good("/sync/pull", json!({"limit": limit, "rejoin": rejoin})).await;
        if !page.snapshot_required {
            self.cursor.clone_from(&page.rejoin.as_ref().unwrap().cursor);
        }
        page
    }

    /// Applies one page to the device's rows; returns whether more pages follow.
    pub(crate) async fn pull_into(&mut self, base: &mut Rows, limit: i64) -> bool {
        let page = self.pull_page(limit).await;
        assert!(!page.snapshot_required, "{:?}", page.snapshot_reason);
        base.extend(objects(&page.rejoin.as_ref().unwrap().sets));
        for gone in &page.deletes {
            base.remove(&format!("{}/{}", gone.table_name, gone.id));
        }
        page.has_more
    }

    /// The rows of a pull or snapshot, by name, as JSON objects.
    pub(crate) async fn pull_rows(&mut self) -> Rows {
        let mut rows = Rows::new();
        loop {
            let page = self.pull_page(7).await;
            assert!(!page.snapshot_required, "{:?}", page.snapshot_reason);
            rows.extend(objects(&page.rejoin.as_ref().unwrap().sets));
            for gone in &page.deletes {
                rows.insert(format!("{}/{}", gone.table_name, gone.id), None);
            }
            if !page.has_more {
                return rows;
            }
        }
    }

    pub(crate) async fn snapshot_rows(&mut self) -> Rows {
        let page = self.snapshot_page(None, 1_000).await;
        assert!(!page.has_more);
        let rejoin = page.rejoin.unwrap();
        self.cursor = rejoin.pull_cursor;
        objects(&rejoin.sets).into_iter().collect()
    }

    /// Pulls to the end; live rows as `table/id`, deleted ones as `-table/id`.
    pub(crate) async fn pull(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..1_000 {
            let page = self.pull_page(100).await;
            assert!(!page.snapshot_required, "{:?}", page.snapshot_reason);
            names.extend(named(&page));
            if !page.has_more {
                return names;
            }
        }
        panic!("the pull does not end");
    }

    pub(crate) fn group(&mut self, id: &str, changes: &Value) -> Value {
        self.seq += 1;
        json!({
            "id": id, "seq": self.seq, "attempt": 1, "hash": format!("hash of {id}"), "after": [],
            "time": "2026-11-20T08:00:00.000000Z", "changes": changes,
        })
    }

    pub(crate) async fn push_groups(&mut self, groups: Value) -> PushResponse {
        let rejoin = json!({"epoch": self.epoch, "groups": groups, "acked_below": 0});
        self.good("/sync/push", json!({"changes": [], "rejoin": rejoin})).await
    }

    /// Pushes records of a plain device; each result as `id status reason`, accepted ones first.
    pub(crate) async fn push_records(&mut self, records: &Value) -> Vec<String> {
        let (status, answer) = self.post("/sync/push", json!({"changes": records})).await;
        assert_eq!(status, 200, "{answer}");
        let results =
            ["accepted", "rejected"].into_iter().flat_map(|list| answer[list].as_array().unwrap());
        let text = |result: &Value, name: &str| result[name].as_str().unwrap_or("-").to_owned();
        results
            .map(|result| ["id", "status", "reason_code"].map(|name| text(result, name)).join(" "))
            .collect()
    }

    /// Pushes one group; returns its verdict and the rows of the response.
    pub(crate) async fn push(&mut self, id: &str, changes: Value) -> (Verdict, Vec<RowImage>) {
        let group = self.group(id, &changes);
        self.push_group(group).await
    }

    pub(crate) async fn push_group(&mut self, group: Value) -> (Verdict, Vec<RowImage>) {
        let answer = self.push_groups(json!([group])).await.rejoin.unwrap();
        assert_eq!(answer.verdicts.len(), 1);
        (answer.verdicts[0].clone(), answer.rows)
    }

    pub(crate) async fn accept(&mut self, id: &str, changes: Value) -> Vec<RowImage> {
        let (verdict, rows) = self.push(id, changes).await;
        assert_eq!(verdict.verdict, Ending::Accepted, "{verdict:?}");
        rows
    }
}

/// The rows of a page as `table/id`, and the deleted ones as `-table/id`.
pub(crate) fn named(page: &PullResponse) -> Vec<String> {
    let rows = objects(&page.rejoin.as_ref().unwrap().sets).into_iter().map(|(name, _)| name);
    let gone = page.deletes.iter().map(|row| format!("-{}/{}", row.table_name, row.id));
    rows.chain(gone).collect()
}

/// Rows of sets as `table/id` with an object.
pub(crate) fn objects(sets: &[rejoin_protocol::wire::row::RowSet]) -> Vec<(String, Option<Value>)> {
    let mut found = Vec::new();
    for set in sets {
        let rows: Vec<Vec<Value>> = serde_json::from_str(set.rows.get()).unwrap();
        for row in rows {
            let object: serde_json::Map<String, Value> =
                set.columns.iter().cloned().zip(row).collect();
            let key = object.get("id").or(object.get("code")).unwrap();
            found.push((format!("{}/{}", set.table_name, plain(key)), Some(Value::Object(object))));
        }
    }
    found
}

/// A verdict as `ending code`.
pub(crate) fn ended(verdict: &Verdict) -> String {
    let code = verdict.code.as_deref().unwrap_or("-");
    format!("{:?} {code}", verdict.verdict).to_lowercase()
}

pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A column of a returned row.
pub(crate) fn column(image: &RowImage, name: &str) -> Value {
    let data: Value = serde_json::from_str(image.data.as_ref().unwrap().get()).unwrap();
    data[name].clone()
}

pub(crate) fn create(table: &str, id: &str, data: &Value) -> Value {
    json!({"operation": "create", "table_name": table, "id": id, "data": data})
}

pub(crate) fn update(table: &str, id: &str, old: &Value, new: &Value) -> Value {
    json!({"operation": "update", "table_name": table, "id": id, "data": new, "old": old})
}

pub(crate) fn delete(table: &str, id: &str, old: &Value) -> Value {
    json!({"operation": "delete", "table_name": table, "id": id, "old": old})
}

pub(crate) fn place(id: &str, name: &str) -> Value {
    create("places", id, &json!({"name": name}))
}

pub(crate) fn rename(id: &str, old: &str, new: &str) -> Value {
    update("places", id, &json!({"name": old}), &json!({"name": new}))
}

/// An update of the score of `p1`.
pub(crate) fn score(old: i64, new: i64) -> Value {
    update("places", "p1", &json!({"score": old}), &json!({"score": new}))
}

pub(crate) fn erase(id: &str, old: &str) -> Value {
    delete("places", id, &json!({"name": old}))
}

/// A plain device's record for the table of places.
pub(crate) fn record(operation: &str, id: &str, data: &Value, time: &str) -> Value {
    json!({"id": id, "table_name": "places", "operation": operation, "data": data,
           "client_updated_at": time})
}
