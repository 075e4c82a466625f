//! The members and headers that a response to a plain v0.1.2 client may have; all others are
//! violations.
//!
//! A real SDK ignores unknown members, so a leaked extension would not fail there. It fails here.

use rejoin_protocol::time;
use serde_json::Value as Json;

/// The type of a member.
#[derive(Debug)]
enum Shape {
    Text,
    Time,
    Integer,
    Truth,
    /// Columns of the app's own tables.
    Columns,
    List(&'static Shape),
    /// Name, whether it is required, type.
    Object(&'static [(&'static str, bool, Shape)]),
}

use Shape::{Columns, Integer, List, Object, Text, Time, Truth};

const ID: Shape = Object(&[("id", true, Text), ("table_name", true, Text)]);

const RECORD: Shape = Object(&[
    ("id", true, Text),
    ("table_name", true, Text),
    ("data", true, Columns),
    ("updated_at", true, Time),
    ("deleted_at", false, Time),
]);

const RESULT: Shape = Object(&[
    ("id", true, Text),
    ("table_name", true, Text),
    ("operation", true, Text),
    ("status", true, Text),
    ("reason_code", false, Text),
    ("message", false, Text),
    ("server_version", false, RECORD),
    ("server_updated_at", false, Time),
    ("server_deleted_at", false, Time),
]);

const REGISTER: Shape = Object(&[
    ("id", true, Text),
    ("server_time", true, Time),
    ("last_sync_at", false, Time),
    ("checkpoint", true, Integer),
    ("schema_version", true, Integer),
    ("schema_hash", true, Text),
]);

const PULL: Shape = Object(&[
    ("changes", true, List(&RECORD)),
    ("deletes", true, List(&ID)),
    ("checkpoint", true, Integer),
    ("has_more", true, Truth),
    ("snapshot_required", false, Truth),
    ("snapshot_reason", false, Text),
    (
        "bucket_updates",
        false,
        Object(&[("added", false, List(&Text)), ("removed", false, List(&Text))]),
    ),
    ("schema_version", true, Integer),
    ("schema_hash", true, Text),
]);

const PUSH: Shape = Object(&[
    ("accepted", true, List(&RESULT)),
    ("rejected", true, List(&RESULT)),
    ("checkpoint", true, Integer),
    ("server_time", true, Time),
    ("schema_version", true, Integer),
    ("schema_hash", true, Text),
]);

const SNAPSHOT: Shape = Object(&[
    ("records", true, List(&RECORD)),
    (
        "cursor",
        false,
        Object(&[
            ("checkpoint", true, Integer),
            ("table_idx", true, Integer),
            ("after_id", true, Text),
        ]),
    ),
    ("checkpoint", true, Integer),
    ("has_more", true, Truth),
    ("schema_version", true, Integer),
    ("schema_hash", true, Text),
]);

const TABLE: Shape = Object(&[
    ("table_name", true, Text),
    ("push_policy", true, Text),
    ("dependencies", true, List(&Text)),
    ("parent_table", false, Text),
    ("parent_fk_col", false, Text),
    ("updated_at_column", false, Text),
    ("deleted_at_column", false, Text),
    ("bucket_by_column", false, Text),
    ("bucket_prefix", false, Text),
    ("global_when_bucket_null", false, Truth),
    ("allow_global_read", false, Truth),
    ("bucket_function", false, Text),
]);

const COLUMN: Shape = Object(&[
    ("name", true, Text),
    ("db_type", true, Text),
    ("logical_type", true, Text),
    ("nullable", true, Truth),
    ("default_sql", false, Text),
    ("default_kind", true, Text),
    ("sqlite_default_sql", false, Text),
    ("is_primary_key", true, Truth),
]);

const SCHEMA_TABLE: Shape = Object(&[
    ("table_name", true, Text),
    ("push_policy", true, Text),
    ("parent_table", false, Text),
    ("parent_fk_col", false, Text),
    ("dependencies", false, List(&Text)),
    ("updated_at_column", true, Text),
    ("deleted_at_column", true, Text),
    ("primary_key", true, List(&Text)),
    ("bucket_by_column", false, Text),
    ("bucket_prefix", false, Text),
    ("global_when_bucket_null", false, Truth),
    ("allow_global_read", false, Truth),
    ("bucket_function", false, Text),
    ("columns", true, List(&COLUMN)),
]);

const TABLES: Shape = Object(&[
    ("tables", true, List(&TABLE)),
    ("server_time", true, Time),
    ("schema_version", true, Integer),
    ("schema_hash", true, Text),
]);

const SCHEMA: Shape = Object(&[
    ("schema_version", true, Integer),
    ("schema_hash", true, Text),
    ("server_time", true, Time),
    ("tables", true, List(&SCHEMA_TABLE)),
]);

const HEALTH: Shape = Object(&[("status", true, Text)]);

const ERROR: Shape = Object(&[("error", true, Text)]);

const BUSY: Shape = Object(&[("error", true, Text), ("retry_after", true, Integer)]);

const MISMATCH: Shape = Object(&[
    ("code", true, Text),
    ("message", true, Text),
    ("server_schema_version", true, Integer),
    ("server_schema_hash", true, Text),
]);

/// Members and headers of a response that v0.1.2 does not define, and required ones that are
/// missing; empty if it is valid.
#[must_use]
pub fn strangers(
    path: &str,
    status: u16,
    headers: &[(String, String)],
    body: &Json,
) -> Vec<String> {
    let mut found = Vec::new();
    let shape = match (status, path) {
        (200, "/sync/register") => &REGISTER,
        (200, "/sync/pull") => &PULL,
        (200, "/sync/push") => &PUSH,
        (200, "/sync/snapshot") => &SNAPSHOT,
        (200, "/sync/tables") => &TABLES,
        (200, "/sync/schema") => &SCHEMA,
        (200, "/healthz") => &HEALTH,
        (409, _) => &MISMATCH,
        (429 | 503, _) => &BUSY,
        (200, _) => {
            found.push(format!("{path} is no path of v0.1.2"));
            return found;
        }
        _ => &ERROR,
    };
    compare("", shape, body, &mut found);
    let value = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    };
    for (name, _) in headers {
        let known = ["content-type", "content-length", "allow", "retry-after"];
        if !known.contains(&name.to_ascii_lowercase().as_str()) {
            found.push(format!("the header {name}"));
        }
    }
    if value("content-type") != Some("application/json") {
        found.push(format!("the content type {:?}", value("content-type")));
    }
    if (status == 405) != value("allow").is_some() {
        found.push(format!("the header Allow at {status}"));
    }
    let seconds = body.get("retry_after").map(ToString::to_string);
    if value("retry-after") != seconds.as_deref() {
        found.push(format!("Retry-After {:?} beside {seconds:?}", value("retry-after")));
    }
    found
}

fn compare(place: &str, shape: &Shape, value: &Json, found: &mut Vec<String>) {
    let fits = match shape {
        Text => value.is_string(),
        Time => value.as_str().and_then(time::parse).is_some(),
        Integer => value.is_i64(),
        Truth => value.is_boolean(),
        Columns => value.is_object(),
        List(inner) => {
            for (at, element) in value.as_array().into_iter().flatten().enumerate() {
                compare(&format!("{place}[{at}]"), inner, element, found);
            }
            value.is_array()
        }
        Object(members) => {
            members_of(place, members, value, found);
            value.is_object()
        }
    };
    if !fits {
        found.push(format!("{place}: {value} is no {shape:?}"));
    }
}

fn members_of(
    place: &str,
    members: &'static [(&'static str, bool, Shape)],
    value: &Json,
    found: &mut Vec<String>,
) {
    let Some(object) = value.as_object() else { return };
    for (name, required, shape) in members {
        match object.get(*name) {
            Some(inner) => compare(&format!("{place}.{name}"), shape, inner, found),
            None if *required => found.push(format!("{place}.{name} is missing")),
            None => {}
        }
    }
    for name in object.keys() {
        if !members.iter().any(|(known, _, _)| known == name) {
            found.push(format!("{place}.{name} is unknown to v0.1.2"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::strangers;

    #[test]
    fn member_unknown_to_v0_1_2_is_found() {
        let plain = [("content-type".to_owned(), "application/json".to_owned())];
        let good = json!({
            "accepted": [], "rejected": [], "checkpoint": 0, "schema_version": 1, "schema_hash": "x",
            "server_time": "2026-11-20T08:00:00.000000Z",
        });
        assert_eq!(strangers("/sync/push", 200, &plain, &good), Vec::<String>::new());
        let mut extended = good.clone();
        extended["rejoin"] = json!({});
        let mut coded = good.clone();
        coded["rejected"] = json!([{"id": "p", "table_name": "t", "operation": "create", "status": "applied", "code": "x"}]);
        let mut cut = good.clone();
        cut.as_object_mut().unwrap().remove("server_time");
        let mut hinting = plain.to_vec();
        hinting.push(("rejoin-protocol".to_owned(), "1".to_owned()));
        for (body, headers) in [
            (&extended, &plain[..]),
            (&coded, &plain[..]),
            (&cut, &plain[..]),
            (&good, &hinting[..]),
        ] {
            assert_eq!(strangers("/sync/push", 200, headers, body).len(), 1, "{body}");
        }
        let error = json!({"error": "no", "code": "not_registered"});
        assert_eq!(strangers("/sync/pull", 404, &plain, &error).len(), 1);
        assert_eq!(
            strangers("/sync/pull", 503, &plain, &json!({"error": "busy", "retry_after": 5})).len(),
            1
        );
    }
}
