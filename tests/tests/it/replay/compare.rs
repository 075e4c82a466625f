//! Compares two responses, and names their differences.
//!
//! Positions, versions, ids and cursors are specific to a server: equal ones must stay equal and
//! later ones later. [`Known`] maps recorded ones to ours. Rows are compared as a set; results and
//! columns in order.

use std::collections::BTreeMap;

use rejoin_protocol::time;
use serde_json::{Map, Value as Json};

/// The recorded server's own values and the corresponding ones of ours.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Positions of the log.
    pub(super) positions: BTreeMap<i64, i64>,
    /// Versions and hashes of the schema.
    pub(super) schemas: Vec<((i64, String), (i64, String))>,
    /// Times that the server assigned to a row, by table, id and column.
    pub(super) times: BTreeMap<(String, String, String), BTreeMap<i64, i64>>,
    /// Cursors of snapshots, as text.
    pub(super) cursors: BTreeMap<String, Json>,
    /// The server's ids of devices.
    ids: BTreeMap<String, String>,
}

/// The members in which two answers differ, such as `changes[].data.name`.
pub(super) fn differences(known: &mut Known, recorded: &Json, ours: &Json) -> Vec<String> {
    let mut comparison = Comparison { known, found: Vec::new() };
    comparison.schema(recorded, ours);
    comparison.value("", recorded, ours, None);
    let mut found = comparison.found;
    found.sort();
    found.dedup();
    found
}

/// A row that a value belongs to.
type Row<'a> = Option<(&'a str, &'a str)>;

struct Comparison<'a> {
    known: &'a mut Known,
    found: Vec<String>,
}

impl Comparison<'_> {
    fn differs(&mut self, place: &str) {
        self.found.push(place.to_owned());
    }

    /// Version and hash belong together.
    fn schema(&mut self, recorded: &Json, ours: &Json) {
        let Some(theirs) = schema_of(recorded) else { return };
        let Some(own) = schema_of(ours) else { return self.differs("schema_version") };
        match self.known.schemas.iter().find(|(known, _)| *known == theirs) {
            Some((_, known)) if *known == own => {}
            Some(_) => self.differs("schema_version"),
            None => self.known.schemas.push((theirs, own)),
        }
    }

    fn value(&mut self, place: &str, recorded: &Json, ours: &Json, row: Row<'_>) {
        let member = place.rsplit('.').next().unwrap_or(place);
        let in_columns = place.contains("data.");
        match (recorded, ours) {
            _ if is_schema(member) && !in_columns => {}
            (Json::Object(theirs), Json::Object(own)) if member == "cursor" => {
                self.known.cursors.insert(recorded.to_string(), ours.clone());
                if theirs.len() != own.len() {
                    self.differs(place);
                }
            }
            (Json::Object(theirs), Json::Object(own)) => {
                let row = row_of(theirs).or(row);
                self.object(place, theirs, own, row);
            }
            (Json::Array(theirs), Json::Array(own)) => self.array(place, theirs, own, row),
            (Json::Number(_), Json::Number(_)) if member == "checkpoint" => {
                self.position(place, recorded, ours);
            }
            (Json::Number(theirs), Json::Number(own)) if member == "retry_after" => {
                if theirs.as_u64().is_none() || own.as_u64().is_none() {
                    self.differs(place);
                }
            }
            (Json::Number(_), Json::Number(_)) if is_equal(recorded, ours) => {}
            (Json::String(theirs), Json::String(own)) => {
                if !self.text(member, theirs, own, row) {
                    self.differs(place);
                }
            }
            _ if recorded == ours => {}
            _ => self.differs(place),
        }
    }

    fn object(
        &mut self,
        place: &str,
        theirs: &Map<String, Json>,
        own: &Map<String, Json>,
        row: Row<'_>,
    ) {
        let inside =
            |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
        for (name, value) in theirs {
            match own.get(name) {
                Some(ours) => self.value(&inside(name), value, ours, row),
                None => self.differs(&inside(name)),
            }
        }
        for name in own.keys().filter(|name| !theirs.contains_key(*name)) {
            self.differs(&inside(name));
        }
    }

    fn array(&mut self, place: &str, theirs: &[Json], own: &[Json], row: Row<'_>) {
        let each = format!("{place}[]");
        if !matches!(place, "changes" | "deletes" | "records") {
            if theirs.len() != own.len() {
                return self.differs(place);
            }
            for (recorded, ours) in theirs.iter().zip(own) {
                self.value(&each, recorded, ours, row);
            }
            return;
        }
        let find = |rows: &'_ [Json], name: Row<'_>| {
            rows.iter().find(|row| row.as_object().and_then(row_of) == name).cloned()
        };
        if theirs.len() != own.len() {
            self.differs(place);
        }
        for recorded in theirs {
            match find(own, recorded.as_object().and_then(row_of)) {
                Some(ours) => self.value(&each, recorded, &ours, None),
                None => self.differs(place),
            }
        }
    }

    /// Positions keep their order, and equal positions stay equal.
    fn position(&mut self, place: &str, recorded: &Json, ours: &Json) {
        let (Some(theirs), Some(own)) = (recorded.as_i64(), ours.as_i64()) else {
            return self.differs(place);
        };
        let known = &mut self.known.positions;
        // Zero means no position; a push and a device that never pulled have none on either server.
        let is_same = match (known.get(&theirs), theirs) {
            _ if (theirs, own) == (0, 0) => return,
            (Some(position), _) => *position == own,
            (None, 0) => false,
            (None, _) => is_in_order(known, theirs, own),
        };
        if is_same {
            known.insert(theirs, own);
        } else {
            self.differs(place);
        }
    }

    fn text(&mut self, member: &str, theirs: &str, own: &str, row: Row<'_>) -> bool {
        if let (Some(recorded), Some(ours)) = (time::parse(theirs), time::parse(own)) {
            let member = member.strip_prefix("server_").unwrap_or(member);
            return match row {
                // A time that the server assigned; anything else was written by a device.
                Some((table, id)) if theirs.len() > 10 && is_dated(member) => {
                    let place = (table.to_owned(), id.to_owned(), member.to_owned());
                    let times = self.known.times.entry(place).or_default();
                    let is_same = match times.get(&recorded) {
                        Some(known) => *known == ours,
                        None => is_in_order(times, recorded, ours),
                    };
                    times.insert(recorded, ours);
                    is_same
                }
                Some(_) => recorded == ours,
                None => true,
            };
        }
        match member {
            "id" if row.is_none() => {
                let known = self.known.ids.entry(theirs.to_owned()).or_insert(own.to_owned());
                known == own
            }
            _ => theirs == own,
        }
    }
}

fn is_in_order(known: &BTreeMap<i64, i64>, theirs: i64, own: i64) -> bool {
    let before = known.range(..theirs).next_back().map(|(_, own)| *own);
    let after = known.range(theirs..).next().map(|(_, own)| *own);
    before.is_none_or(|before| before <= own) && after.is_none_or(|after| own <= after)
}

fn is_dated(member: &str) -> bool {
    matches!(member, "created_at" | "updated_at" | "deleted_at" | "order_date")
}

fn is_schema(member: &str) -> bool {
    matches!(
        member,
        "schema_version" | "schema_hash" | "server_schema_version" | "server_schema_hash"
    )
}

fn row_of(object: &Map<String, Json>) -> Row<'_> {
    let text = |name: &str| object.get(name).and_then(Json::as_str);
    Some((text("table_name")?, text("id")?))
}

/// The schema that an answer names.
pub(super) fn schema_of(answer: &Json) -> Option<(i64, String)> {
    let named = |version: &str, hash: &str| {
        Some((answer.get(version)?.as_i64()?, answer.get(hash)?.as_str()?.to_owned()))
    };
    named("schema_version", "schema_hash")
        .or_else(|| named("server_schema_version", "server_schema_hash"))
}

#[allow(clippy::float_cmp)] // The same double, or not.
fn is_equal(recorded: &Json, ours: &Json) -> bool {
    match (recorded.as_i64(), ours.as_i64()) {
        (Some(theirs), Some(own)) => theirs == own,
        _ => recorded.as_f64() == ours.as_f64(),
    }
}
