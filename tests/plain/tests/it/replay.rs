//! Replays every recorded exchange in four runs, in their recorded order. Database changes between
//! them are scripted by hand; comments quote the notes of the recording.

use std::collections::BTreeSet;

use rejoin_plain::{Column, Config, Identity, Outage, Trigger, demo};
use serde_json::{Value as Json, json};

use crate::ask::{post, registered};
use crate::recorded::names;
use crate::session::{A, B, Session};

/// Recorded exchanges that are not replayed, with the reason.
const NOT_REPLAYED: &[(&str, &str)] = &[];

fn id(end: &str) -> String {
    format!("00000000-0000-0000-0000-{end:0>12}")
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn recorded_exchanges_get_the_responses_of_the_real_server() {
    let mut replayed = BTreeSet::new();
    for session in [stock(), library(), documented(), filtered()] {
        let count = replayed.len();
        let these = session.finish();
        let expected = count + these.len();
        replayed.extend(these);
        assert_eq!(replayed.len(), expected, "no exchange is replayed in two runs");
    }
    let left: BTreeSet<_> = names().into_iter().filter(|name| !replayed.contains(name)).collect();
    let known: BTreeSet<_> = NOT_REPLAYED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(left, known, "exchanges that are not replayed must be listed with a reason");
    assert_eq!((replayed.len(), left.len()), (145, 0));
}

/// The server as shipped: no policies. Covers schema, pushes, pulls, deletes, buckets and values.
fn stock() -> Session {
    let mut run = Session::new(Config::new(demo::tables_without_trigger()));
    run.headers = vec![header("X-App-Version", "1.3.0")];
    run.server.script_ids([
        "0300680c-db8a-4d75-bd41-2705c13a9a17",
        "92170f0b-d558-48e3-9a17-1f84871e4ac6",
    ]);
    run.replay(A, &["01", "02"]);
    run.replay_with("03", Vec::new());
    run.replay_for_header("04", "Allow", "POST");
    run.replay(A, &["05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16", "17"]);
    run.replay(A, &["18", "19", "20"]);
    pushes_and_pulls(&mut run);
    deletes_and_buckets(&mut run);
    values(&mut run);
    schema_changes(&mut run);
    gates(&mut run);
    more_types(&mut run);
    run
}

fn pushes_and_pulls(run: &mut Session) {
    run.clock("06:41:50.865967");
    let widget = json!({"id": id("a1"), "name": "Widget", "unit_price": "9.99", "units_in_stock": 100,
        "thumbnail": "\\x00ff10"});
    let gizmo = json!({"id": id("a2"), "name": "Gizmo", "unit_price": "4.50", "units_in_stock": 1,
        "discontinued": true});
    run.server
        .outside(|sql| {
            sql.insert("products", &widget).and_then(|()| sql.insert("products", &gizmo))
        })
        .unwrap();
    run.clock("06:41:50.878475");
    let electronics =
        json!({"id": id("c1"), "name": "Electronics", "description": "x", "search_tags": "{a,b}"});
    run.server.insert("categories", &electronics).unwrap();
    run.replay(A, &["30", "31", "32", "33", "34", "35", "36"]);
    registered(&mut run.server, B, "b1");
    run.replay(B, &["37"]);
    run.replay(A, &["38", "39"]);
    // Up to here the app has no trigger: the row changes, its version does not, and the clock is
    // not read for it.
    run.readings(&["06:42:51.519", "06:42:51.519580"]).replay(A, &["40"]);
    run.server.alter(|tables| {
        for table in tables {
            *table = table.clone().trigger(Trigger::ClockTime);
        }
    });
    run.replay(A, &["41", "42", "43", "44", "45", "46", "47", "48", "49", "50", "51", "52", "53"]);
    run.replay(A, &["54", "55", "56", "58"]);
    run.replay(B, &["59"]);
    run.replay(A, &["60", "61", "62", "63", "64", "65"]);
}

fn deletes_and_buckets(run: &mut Session) {
    run.readings(&["06:42:52.44077", "06:42:52.441376", "06:42:52.448638"]).replay(A, &["70"]);
    run.replay(A, &["71", "72", "73", "74"]);
    // A resurrection is two UPDATEs; response and row have the time of the second one.
    run.readings(&["06:42:52.9685", "06:42:52.9686", "06:42:52.968875", "06:42:52.97179"]);
    run.replay(A, &["75", "76"]);
    run.server.remove("order_details", &id("e1")).unwrap();
    run.server.remove("orders", &id("f02")).unwrap();
    run.replay(A, &["77"]);
    run.clock("06:42:54.083652")
        .server
        .update("orders", &id("f00"), &json!({"user_id": B}))
        .unwrap();
    run.replay(A, &["80"]).replay(B, &["81"]);
    run.server.update("categories", &id("c1"), &json!({"user_id": A})).unwrap();
    run.replay(A, &["82"]).replay(B, &["83"]).replay(A, &["84"]);
    run.clock("06:42:55.735395")
        .server
        .update("orders", &id("ab1"), &json!({"user_id": B}))
        .unwrap();
    run.replay(B, &["85"]);
    // Two statements over all orders; only the first is the user's, twice.
    run.clock("06:42:56.276994");
    for letters in ["x", "xy"] {
        run.server
            .outside(|sql| {
                sql.update(
                    "orders",
                    &id("d1"),
                    &json!({"ship_address": format!("HACKED{letters}")}),
                )?;
                sql.update(
                    "orders",
                    &id("f00"),
                    &json!({"ship_address": format!("back{letters}")}),
                )?;
                sql.update("orders", &id("ab1"), &json!({"ship_address": format!("fam{letters}")}))
            })
            .unwrap();
    }
    run.replay(A, &["86"]);
}

fn values(run: &mut Session) {
    run.replay(A, &["90", "92"]);
    // A first take of 93, which a later recording replaced.
    run.server.update("orders", &id("d1"), &json!({"total_cents": 1})).unwrap();
    run.replay(A, &["94", "95", "96"]);
    many(run);
    run.replay(A, &["91", "93", "93b", "94b", "97", "100"]);
    run.readings(&["06:43:52.096338"]).replay(A, &["101"]);
    run.server.script_ids(["561175ea-c395-432c-a152-ef4bdc1d4512"]);
    let versions = std::mem::take(&mut run.headers);
    run.replay("AAAAAAAA-1111-1111-1111-111111111111", &["102"]);
    run.headers = versions;
    run.replay(A, &["103"]);
}

/// Only figures were recorded for these two. One push had 1500 of 1500 records accepted. Then a
/// page of 1000 entries after position 1, requested with a higher limit, has 974 rows and 5
/// deletes, ends at position 1007 and is not the last.
fn many(run: &mut Session) {
    let change = |number: usize| {
        json!({"id": id(&format!("b{number:08x}")), "table_name": "orders", "operation": "create",
            "data": {"ship_address": "many"}, "client_updated_at": "2026-11-20T06:42:57Z"})
    };
    let changes: Vec<_> = (0..1500).map(change).collect();
    let (status, answer) =
        post(&mut run.server, A, "push", json!({"client_id": "c1", "changes": changes})).unwrap();
    assert_eq!((status, answer["accepted"].as_array().map(Vec::len)), (200, Some(1500)));
    let ask = json!({"client_id": "c1", "checkpoint": 1, "limit": 5000});
    let (status, page) = post(&mut run.server, A, "pull", ask).unwrap();
    let count = |list: &str| page[list].as_array().map(Vec::len);
    assert_eq!((status, count("changes"), count("deletes")), (200, Some(974), Some(5)));
    assert_eq!((&page["checkpoint"], &page["has_more"]), (&json!(1007), &json!(true)));
}

fn schema_changes(run: &mut Session) {
    let color = Column::new("color", "text").default("'red'::text");
    run.server.alter(|tables| tables[2].add(color));
    run.replay(A, &["110", "111"]);
    run.server.alter(|tables| tables[2].drop_column("color"));
    run.replay(A, &["112"]);
    run.server.alter(|tables| tables[0].add(Column::new("search", "tsvector").nullable()));
    run.replay(A, &["113"]);
    run.server.alter(|tables| {
        tables[0].drop_column("search");
        tables[0].add(Column::new("token", "uuid").default("gen_random_uuid()"));
    });
    run.replay(A, &["114"]);
    run.server.alter(|tables| tables[0].drop_column("token"));
}

/// The minimum app version is 1.2.0; then users are identified by tokens.
fn gates(run: &mut Session) {
    run.headers.clear();
    run.server.config.minimum_version = Some("1.2.0".to_owned());
    let user = header("X-User-ID", A);
    let versioned = |version: &str| vec![user.clone(), header("X-App-Version", version)];
    run.replay_with("170", versioned("1.1.9"));
    run.replay_with("171", versioned("banana"));
    run.replay(A, &["172", "173", "174"]);
    run.replay_with("175", versioned("v1.2.0-beta"));
    run.server.config.minimum_version = None;
    let valid =
        [("claim", Some(A.to_owned())), ("no claim", None), ("for ever", Some(A.to_owned()))];
    let valid = valid.into_iter().map(|(token, user)| (token.to_owned(), user));
    run.server.config.identity = Identity::Bearer(valid.collect());
    run.replay_with("181", Vec::new());
    for (number, token) in [
        ("180", "claim"),
        ("182", "expired"),
        ("183", "forged"),
        ("184", "no claim"),
        ("185", "for ever"),
    ] {
        run.replay_with(number, vec![header("Authorization", &format!("Bearer {token}"))]);
    }
    run.server.config.identity = Identity::Header;
}

/// Adds a column of each remaining type to the orders.
fn more_types(run: &mut Session) {
    run.server.alter(|tables| {
        for (name, db_type) in [
            ("blob", "bytea"),
            ("price", "numeric(20,6)"),
            ("flag", "boolean"),
            ("tstz", "timestamp with time zone"),
            ("tm", "time without time zone"),
            ("iv", "interval"),
        ] {
            tables[0].add(Column::new(name, db_type).nullable());
        }
    });
    run.replay(A, &["190", "191", "192", "193", "194", "195", "196"]);
    run.server.outage(Some(Outage::Refusing));
    run.replay(A, &["197", "198"]);
    run.server.outage(None);
    run.replay(A, &["199"]);
}

/// The library embedded in an app: policies, five seconds of tolerance, hooks, compaction.
fn library() -> Session {
    let mut config = Config::new(demo::tables());
    config.row_level_security = true;
    config.skew_micros = 5_000_000;
    config.retry_after = 7;
    config.stale_clients.insert("stale".to_owned());
    let mut run = Session::new(config);
    for (user, client) in [(A, "c1"), (A, "c2"), (A, "stale"), (B, "b1")] {
        registered(&mut run.server, user, client);
    }
    run.clock("06:44:52.580763");
    run.server.insert("categories", &json!({"id": id("c1"), "name": "Glob"})).unwrap();
    // The consumer has consumed one event of this push when the other user takes a snapshot.
    run.server.lag(true);
    run.replay(A, &["120"]);
    run.server.consume(1);
    run.replay(B, &["121"]);
    run.server.lag(false);
    run.replay(B, &["122", "123", "124", "125"]);
    run.server.config.veto = true;
    run.replay(A, &["128"]);
    run.server.config.veto = false;
    run.replay(A, &["129", "130", "131", "132"]);
    run.server.outage(Some(Outage::TooMany(60)));
    run.replay_for_header("133", "Retry-After", "60");
    run.server.outage(Some(Outage::Maintenance(300)));
    run.replay_for_header("134", "Retry-After", "300");
    run.server.outage(None);
    compactions(&mut run);
    run.replay(A, &["146"]).replay(B, &["126", "127"]).replay(A, &["128b"]);
    run.clock("06:45:55.826186")
        .server
        .update("orders", &id("51"), &json!({"user_id": B}))
        .unwrap();
    run.clock("06:45:55.87015")
        .server
        .update("order_details", &id("52"), &json!({"quantity": 5}))
        .unwrap();
    run.replay(A, &["148"]).replay(B, &["149"]);
    let deleted =
        json!({"id": id("61"), "user_id": A, "deleted_at": "2026-11-20T06:45:56.680533Z"});
    run.clock("06:45:56.680533").server.insert("orders", &deleted).unwrap();
    run.replay(A, &["149b"]);
    run.server.outage(Some(Outage::Closed));
    run.replay_for_header("150", "Retry-After", "7");
    run.replay(A, &["151"]);
    run
}

/// Only figures of compactions were recorded.
fn compactions(run: &mut Session) {
    let reach = |run: &mut Session, seq: i64| {
        for (user, client) in [(A, "c1"), (A, "c2"), (A, "stale"), (B, "b1")] {
            run.server.client(user, client).unwrap().last_pull_seq = Some(seq);
        }
    };
    let compacted = |run: &mut Session| {
        let done = run.server.compact();
        (done.deactivated, done.safe_seq, done.deleted)
    };
    // Every client has reached position 5.
    reach(run, 5);
    assert_eq!(compacted(run), (0, 5, 5));
    run.replay(A, &["141", "142"]);
    // One client was last seen eight days ago.
    let long_ago = run.server.clock().now() - 8 * 24 * 3600 * 1_000_000;
    run.server.client(A, "stale").unwrap().last_sync = Some(long_ago);
    assert_eq!(compacted(run), (1, 5, 0));
    // A client of another user has no changes: it pulls, and keeps its checkpoint.
    reach(run, 6);
    for number in 0..5 {
        run.server.update("orders", &id("1"), &json!({"total_cents": number})).unwrap();
    }
    let (_, page) =
        post(&mut run.server, B, "pull", json!({"client_id": "b1", "checkpoint": 6})).unwrap();
    let (_, theirs) =
        post(&mut run.server, A, "pull", json!({"client_id": "c1", "checkpoint": 6})).unwrap();
    assert_eq!((&page["checkpoint"], &theirs["checkpoint"]), (&json!(6), &json!(11)));
    assert_eq!(compacted(run), (0, 6, 1));
}

/// Tables as configured in the documentation of the real server: children in buckets of their
/// parents' keys, and a list of synced columns.
fn documented() -> Session {
    let mut tables = demo::tables();
    tables[1] = tables[1].clone().bucket_by("order_id", "order:");
    tables[3] = tables[3].clone().sync_columns(&["id", "name", "updated_at", "deleted_at"]);
    let mut run = Session::new(Config::new(tables));
    registered(&mut run.server, A, "c1");
    registered(&mut run.server, A, "c2");
    run.clock("06:53:09.372331");
    for (key, name) in [
        ("f0000000-0000-4000-8000-000000000000", "a"),
        ("1bfdb133-180b-4090-8f11-b24248bf5044", "b"),
    ] {
        run.server.insert("products", &json!({"id": key, "name": name})).unwrap();
    }
    // The log is emptied; its sequence continues.
    run.server.compact_to(2);
    run.replay(A, &["210", "211"]);
    run.server.client(A, "c2").unwrap().last_pull = Some(0);
    run.replay(A, &["212", "213", "214"]);
    run.server
        .alter(|tables| tables[0].add(Column::new("gen", "text").generated("upper(ship_address)")));
    run.replay(A, &["215", "216"]);
    run.server
        .alter(|tables| tables[0].add(Column::new("at", "timestamp(3) with time zone").nullable()));
    run.replay(A, &["217"]);
    run
}

/// A pull of some tables.
fn filtered() -> Session {
    let mut run = Session::new(Config::new(demo::tables()));
    registered(&mut run.server, A, "c");
    run.server.client(A, "c").unwrap().last_pull = Some(0);
    run.clock("07:02:38.10339");
    run.server.insert("orders", &json!({"user_id": A})).unwrap();
    run.server
        .insert("products", &json!({"id": "8a9f5a9c-e62e-4e00-aa65-156da616cca6", "name": "p"}))
        .unwrap();
    run.replay(A, &["221", "222"]);
    run
}

#[test]
fn two_recorded_requests_crash_the_process() {
    let mut run = Session::new(Config::new(demo::tables()));
    registered(&mut run.server, A, "c1");
    let create = |number: &str, data: Json| {
        json!({"id": id(number), "table_name": "orders", "operation": "create", "data": data,
            "client_updated_at": "2026-11-20T06:42:51.749391Z"})
    };
    let changes = [create("d2", json!({})), create("d3", Json::Null)];
    assert_eq!(
        post(&mut run.server, A, "push", json!({"client_id": "c1", "changes": changes})),
        None
    );
    assert!(run.server.live("orders").is_empty(), "earlier records of the batch are lost too");
    let cursor = json!({"checkpoint": 1, "table_idx": -1, "after_id": ""});
    let ask = json!({"client_id": "c1", "limit": 5, "cursor": cursor});
    assert_eq!(post(&mut run.server, A, "snapshot", ask), None);
}
