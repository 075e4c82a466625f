//! Verdicts compared with a small model: generated mutations, repeated, late and reordered.
//!
//! The model holds rows and verdicts. Server and model must agree on every verdict and every row,
//! and an accepted mutation is applied once.

use std::collections::BTreeMap;

use macro_rules_attribute::apply;
use rejoin_protocol::wire::push::Ending;
use serde_json::{Map, Value, json};

use crate::world::{Backend, World, cases};

type Rows = BTreeMap<String, Row>;

/// A row; a deleted one keeps its columns, and a create restores them under its own.
#[derive(Clone, Default)]
struct Row {
    columns: Map<String, Value>,
    live: bool,
}

fn live<'a>(rows: &'a Rows, id: &str) -> Option<&'a Map<String, Value>> {
    rows.get(id).filter(|row| row.live).map(|row| &row.columns)
}

#[derive(Default)]
struct Model {
    rows: Rows,
    verdicts: BTreeMap<String, (i64, Ending)>,
}

impl Model {
    fn push(&mut self, group: &Value) -> Ending {
        let id = group["id"].as_str().unwrap();
        let attempt = group["attempt"].as_i64().unwrap();
        if let Some((evaluated, ending)) = self.verdicts.get(id)
            && (*evaluated >= attempt || *ending == Ending::Accepted)
        {
            return *ending;
        }
        let after = group["after"].as_array().unwrap().iter();
        let accepted = |other: &Value| {
            matches!(self.verdicts.get(other.as_str().unwrap()), Some((_, Ending::Accepted)))
        };
        let ending = if after.into_iter().all(accepted) {
            let mut rows = self.rows.clone();
            let changes = group["changes"].as_array().unwrap();
            let found = changes.iter().find_map(|change| judge(&mut rows, change).err());
            if found.is_none() {
                self.rows = rows;
            }
            found.unwrap_or(Ending::Accepted)
        } else {
            Ending::Blocked
        };
        self.verdicts.insert(id.to_owned(), (attempt, ending));
        ending
    }
}

fn judge(rows: &mut Rows, change: &Value) -> Result<(), Ending> {
    let id = change["id"].as_str().unwrap();
    let data = change["data"].as_object().cloned().unwrap_or_default();
    let old = change["old"].as_object().cloned().unwrap_or_default();
    let breaks_check = data.get("score").is_some_and(|score| score.as_i64() < Some(0));
    match (change["operation"].as_str().unwrap(), live(rows, id)) {
        ("create", Some(row)) if data.iter().any(|(name, value)| row[name] != *value) => {
            Err(Ending::Conflict)
        }
        // A delete of a missing row succeeds.
        ("create", Some(_)) | ("delete", None) => Ok(()),
        ("create", None) => {
            let row = rows.entry(id.to_owned()).or_default();
            row.live = true;
            row.columns.entry("score").or_insert(json!(0));
            row.columns.extend(data);
            Ok(())
        }
        ("update", Some(row)) => {
            let differs = |name: &String, value: &Value| row[name] != *value;
            let stale = |name: &String| old.get(name) != Some(&row[name]);
            if data.iter().any(|(name, value)| differs(name, value) && stale(name)) {
                return Err(Ending::Conflict);
            }
            if breaks_check && data.iter().any(|(name, value)| differs(name, value)) {
                return Err(Ending::Rejected);
            }
            rows.entry(id.to_owned()).or_default().columns.extend(data);
            Ok(())
        }
        ("delete", Some(row)) => {
            if old.iter().any(|(name, value)| row[name] != *value) {
                return Err(Ending::Conflict);
            }
            rows.entry(id.to_owned()).or_default().live = false;
            Ok(())
        }
        _ => Err(Ending::Conflict),
    }
}

fn group(random: &mut fastrand::Rng, number: i64, rows: &Rows) -> Value {
    let mut changes: BTreeMap<String, Value> = BTreeMap::new();
    for _ in 0..random.usize(1..4) {
        let id = format!("p{}", random.usize(..4));
        let mut seen = live(rows, &id).cloned().unwrap_or_default();
        if random.u8(..) < 60 {
            seen.insert(String::from("name"), json!("a value that was never written"));
        }
        let change = match random.usize(..4) {
            0 => json!({"operation": "create", "data": {"name": format!("n{}", random.u8(..3))}}),
            1 => {
                json!({"operation": "delete", "old": {"name": seen.get("name"), "score": seen.get("score")}})
            }
            2 => {
                let score = random.i64(-1..4);
                json!({"operation": "update", "data": {"score": score}, "old": {"score": seen.get("score")}})
            }
            _ => json!({"operation": "update", "data": {"name": format!("n{}", random.u8(..3))},
                        "old": {"name": seen.get("name")}}),
        };
        changes.insert(id, change);
    }
    let mut list = Vec::new();
    for deletes in [false, true] {
        for (id, change) in &changes {
            if (change["operation"] == "delete") == deletes {
                let mut change = change.clone();
                change["id"] = json!(id);
                change["table_name"] = json!("places");
                list.push(change);
            }
        }
    }
    let after: Vec<String> = if number > 0 && random.u8(..) < 60 {
        vec![format!("m{}", random.i64(..number))]
    } else {
        Vec::new()
    };
    json!({"id": format!("m{number}"), "seq": number + 1, "attempt": 1, "hash": "h", "after": after,
           "time": "2026-11-20T08:00:00Z", "changes": list})
}

#[apply(pooled_stores!)]
async fn server_and_model_agree_on_every_verdict_and_every_row(backend: Backend) {
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    // Over PostgreSQL each takes a database, so fewer suffice.
    let (seeds, least) = if backend == Backend::Sqlite { (25, 20) } else { (8, 5) };
    for seed in 0..cases(seeds) {
        let mut random = fastrand::Rng::with_seed(seed);
        let world = World::new(backend);
        let mut anna = world.device("anna", "a1").await;
        let mut model = Model::default();
        let mut sent: Vec<Value> = Vec::new();
        for number in 0..40 {
            let mut request = vec![group(&mut random, number, &model.rows)];
            for _ in 0..random.usize(..3) {
                let is_new = |again: &&Value| request.iter().all(|one| one["id"] != again["id"]);
                if let Some(again) = random.choice(&sent).filter(is_new) {
                    let mut again: Value = again.clone();
                    let attempt = again["attempt"].as_i64().unwrap() + i64::from(random.bool());
                    again["attempt"] = json!(attempt);
                    request.push(again);
                }
            }
            random.shuffle(&mut request);
            let expected: Vec<Ending> = request.iter().map(|group| model.push(group)).collect();
            let answer = anna.push_groups(json!(request)).await.rejoin.unwrap();
            let found: Vec<Ending> =
                answer.verdicts.iter().map(|verdict| verdict.verdict).collect();
            assert_eq!(found, expected, "seed {seed}: {request:#?} {:#?}", answer.verdicts);
            for ending in found {
                *endings.entry(format!("{ending:?}")).or_default() += 1;
            }
            for image in answer.rows {
                let row = live(&model.rows, &image.id).cloned();
                assert_eq!(image.absent, row.is_none(), "seed {seed}: {}", image.id);
                if let (Some(row), Some(data)) = (row, image.data) {
                    let data: Value = serde_json::from_str(data.get()).unwrap();
                    assert_eq!(data["name"], row["name"], "seed {seed}: {}", image.id);
                    assert_eq!(data["score"], row["score"], "seed {seed}: {}", image.id);
                }
            }
            sent.extend(request);
        }
    }
    assert!(endings.len() == 4 && endings.values().all(|count| *count > least), "{endings:?}");
}
