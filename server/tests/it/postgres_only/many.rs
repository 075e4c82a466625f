//! Creates of one push inserted by one PostgreSQL statement: the result is the same as one by one.

use rejoin_protocol::wire::push::Ending;
use rejoin_server::{Config, TableConfig};
use serde_json::{Value, json};

use crate::world::{Device, World};

fn owned(config: Config) -> Config {
    config.with_table(TableConfig::owned("places", "owner_id"))
}

fn create(id: &str, data: &Value) -> Value {
    json!([{"operation": "create", "table_name": "places", "id": id, "data": data}])
}

/// Pushes creates in one push, one mutation each; returns their outcomes.
async fn pushed(device: &mut Device<'_>, creates: &[(&str, Value)]) -> Vec<Ending> {
    let groups: Vec<Value> = creates
        .iter()
        .map(|(id, data)| device.group(&format!("m-{id}"), &create(id, data)))
        .collect();
    let answer = device.push_groups(json!(groups)).await.rejoin.unwrap();
    answer.verdicts.iter().map(|verdict| verdict.verdict).collect()
}

/// The number of statements that inserted the places.
const STATEMENTS: &str = "SELECT count(DISTINCT (xmin::text, cmin::text)) FROM places";

#[tokio::test]
async fn batched_inserts_store_the_same_values() {
    const TABLE: &str = "CREATE TABLE places(id uuid PRIMARY KEY, owner_id text, name varchar(20), photo bytea, marks integer[],
        words text[], price numeric(8, 2), opens timestamptz, is_open boolean, height double precision, more jsonb,
        updated_at timestamptz, deleted_at timestamptz)";
    let world = World::postgres(TABLE, owned);
    let mut anna = world.device("anna", "a1").await;
    let full = json!({"name": "Qu\u{e4}y \"1\", {x}\\", "photo": "AAEC/w==", "marks": [1, null, -3],
        "words": ["a,b", "NULL", ""], "price": 1234.5, "opens": "2026-11-20T08:00:00.123456Z", "is_open": true,
        "height": 0.1, "more": {"a": [1, {"b": null}]}});
    let bare = json!({"name": null, "photo": null, "marks": null, "words": null, "price": null, "opens": null, "is_open": null,
        "height": null, "more": null});
    let other = json!({"name": "", "photo": "", "marks": [], "words": [], "price": -0.01, "opens": "1969-12-31T23:59:59.999999Z",
        "is_open": false, "height": -1e300, "more": []});
    let rows = [full, bare, other];
    let id = |place: usize| format!("00000000-0000-4000-8000-00000000000{place}");
    let ids: Vec<String> = (0..6).map(id).collect();
    let named = |from: usize| -> Vec<(&str, Value)> {
        ids[from..].iter().map(String::as_str).zip(rows.iter().cloned()).collect()
    };
    assert_eq!(pushed(&mut anna, &named(0)).await, [Ending::Accepted; 3]);
    assert_eq!(world.one(STATEMENTS), "1");
    for one in named(3) {
        assert_eq!(pushed(&mut anna, &[one]).await, [Ending::Accepted]);
    }
    assert_eq!(world.one(STATEMENTS), "4");
    let held = |condition: &str| {
        world.one(&format!(
            "SELECT string_agg(ROW(owner_id, name, photo, marks, words, price, opens, is_open, height, more)::text,
             E'\\n' ORDER BY id) FROM places WHERE {condition}"
        ))
    };
    let together = held(&format!("id < '{}'", ids[3]));
    assert_eq!(together, held(&format!("id >= '{}'", ids[3])));
    assert!(together.contains("\\\\x000102ff") && together.contains("1234.50"), "{together}");
}

#[tokio::test]
async fn application_trigger_sees_rows_inserted_one_by_one() {
    const TABLES: &str = "
        CREATE TABLE places(id text PRIMARY KEY, owner_id text, name text, updated_at timestamptz, deleted_at timestamptz);
        CREATE TABLE seen(id text, there bigint);
        CREATE FUNCTION record_call() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN INSERT INTO public.seen SELECT NEW.id, count(*) FROM public.places; RETURN NULL; END';
        CREATE TRIGGER hear AFTER INSERT ON places FOR EACH ROW EXECUTE FUNCTION record_call();
    ";
    let world = World::postgres(TABLES, owned);
    let mut anna = world.device("anna", "a1").await;
    let creates = ["p1", "p2", "p3"].map(|id| (id, json!({"name": id})));
    assert_eq!(pushed(&mut anna, &creates).await, [Ending::Accepted; 3]);
    let seen = "SELECT string_agg(id || ' ' || there, ', ' ORDER BY id) FROM seen";
    assert_eq!(world.one(seen), "p1 1, p2 2, p3 3");
}

#[tokio::test]
async fn bucket_function_sees_rows_inserted_one_by_one() {
    const TABLE: &str = "
        CREATE TABLE places(id text PRIMARY KEY, owner_id text, name text, updated_at timestamptz, deleted_at timestamptz);
        CREATE FUNCTION public.nth(table_name text, operation text, new_row jsonb, old_row jsonb) RETURNS SETOF text
          LANGUAGE sql STABLE AS 'SELECT ''nth:'' || count(*) FROM public.places';
    ";
    let configure = |config: Config| {
        let places = TableConfig::owned("places", "owner_id");
        config.with_table(places.with_bucket_function("public.nth"))
    };
    let world = World::postgres(TABLE, configure);
    let mut anna = world.device("anna", "a1").await;
    let creates = ["p1", "p2", "p3"].map(|id| (id, json!({"name": id})));
    assert_eq!(pushed(&mut anna, &creates).await, [Ending::Accepted; 3]);
    let named = "SELECT string_agg(record_id || ' ' || bucket, ', ' ORDER BY record_id) FROM rejoin.changelog
        WHERE starts_with(bucket, 'nth:')";
    assert_eq!(world.one(named), "p1 nth:1, p2 nth:2, p3 nth:3");
}

#[tokio::test]
async fn row_cannot_reference_a_later_one() {
    const TABLE: &str = "CREATE TABLE places(id text PRIMARY KEY, owner_id text, above text, updated_at timestamptz,
        deleted_at timestamptz, UNIQUE(owner_id, id), FOREIGN KEY (owner_id, above) REFERENCES places(owner_id, id))";
    let world = World::postgres(TABLE, owned);
    let mut anna = world.device("anna", "a1").await;
    let creates = [("p1", Some("p2")), ("p2", None), ("p3", Some("p2"))];
    let creates = creates.map(|(id, above)| (id, json!({"above": above})));
    let ends = pushed(&mut anna, &creates).await;
    assert_eq!(ends, [Ending::Rejected, Ending::Accepted, Ending::Accepted]);
    assert_eq!(world.one("SELECT string_agg(id, ' ' ORDER BY id) FROM places"), "p2 p3");
}

#[tokio::test]
async fn rejected_row_of_a_batch_is_identified() {
    const TABLE: &str =
        "CREATE TABLE places(id text PRIMARY KEY, owner_id text, score integer CHECK (score >= 0),
        updated_at timestamptz, deleted_at timestamptz)";
    let world = World::postgres(TABLE, owned);
    let mut anna = world.device("anna", "a1").await;
    let ids: Vec<String> = (0..60).map(|at| format!("p{at:02}")).collect();
    let is_bad = |at: usize| [0, 31, 32, 59].contains(&at);
    let score = |at: usize| json!({"score": if is_bad(at) { -1 } else { 1 }});
    let creates: Vec<(&str, Value)> =
        ids.iter().enumerate().map(|(at, id)| (id.as_str(), score(at))).collect();
    for (at, end) in pushed(&mut anna, &creates).await.into_iter().enumerate() {
        assert_eq!(end == Ending::Rejected, is_bad(at), "{at}: {end:?}");
    }
    assert_eq!(world.one("SELECT count(*) FROM places WHERE score = 1"), "56");
    assert_eq!(world.one("SELECT count(*) FROM places"), "56");
}
