//! What stands in the way of the log: another server, and an entry that no request can hold.

use std::time::Duration;

use macro_rules_attribute::apply;
use rejoin_core::engine::queue::verdict::VerdictKind;
use rejoin_core::engine::rebase::decide;
use rejoin_core::engine::reset::{Keep, reset};
use rejoin_core::sync::session::{Request, Response};
use rejoin_core::{Error, InputFault};
use rejoin_server::{Limits, TableConfig};
use rejoin_tests::{Backend, Device, Peer, Store};

use super::{HALLS, SEATS, TABLES, devices, server, settle, sold_twice};
use crate::each_store;

/// The device lost all rows of others when an empty database answered under its server's URL.
#[apply(each_store)]
fn empty_server_at_the_same_url_removes_no_rows(store: Store) {
    for resets in [false, true] {
        let mut server = server(store);
        let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
        tablet.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, 'theirs', 1)");
        tablet.sync(&server);
        phone.sync(&server);
        phone.write("INSERT INTO seats VALUES ('s2', 'e1', NULL, 'waits', 2)");
        let (lost, rows) = (server.backup(), phone.see(SEATS));
        server.restore(&self::server(store).backup());
        for _ in 0..3 {
            phone.crash();
            let error = phone.pass(&server).unwrap_err();
            let is_refused = matches!(
                error.downcast_ref(),
                Some(Error::InvalidInput(InputFault::Refused { .. }))
            );
            assert!(is_refused && error.to_string().contains("seats"), "{error}");
            assert_eq!((phone.see(SEATS), server.see(SEATS)), (rows.clone(), String::new()));
        }
        if resets {
            reset(phone.engine(), Keep::Pending, &[]).unwrap();
        } else {
            server.restore(&lost);
        }
        settle(&server, &mut [phone]);
        let kept = if resets { "s2|e1|-|waits|2" } else { "s1|e1|-|theirs|1 s2|e1|-|waits|2" };
        assert_eq!(server.see(SEATS), kept);
    }
}

/// The rows of the other server are in stored pages by then.
#[apply(each_store)]
fn other_server_that_lacks_one_table_replaces_no_row_of_another(store: Store) {
    let with = |seats: &str| {
        let sql = format!(
            "{TABLES}; CREATE TABLE arenas(id TEXT PRIMARY KEY, event TEXT, name TEXT);
            INSERT INTO arenas SELECT 'a' || event, 'e1', event FROM ({seats}) AS seats;
            INSERT INTO seats (id, event) SELECT 's1', 'e1' FROM ({seats}) AS seats WHERE event = 'here'"
        );
        let tables =
            ["arenas", "seats"].map(|table| TableConfig::log(table, "event", "event:")).into();
        let server = Backend::made(store, &sql, tables, Limits::default());
        server.server().grant("ana", "event:e1").unwrap();
        server
    };
    let mut server = with("SELECT 'here' AS event");
    let [mut phone] = devices(&server, ["ana"]);
    let shown =
        |phone: &mut Device| phone.see("SELECT id FROM arenas UNION ALL SELECT id FROM seats");
    assert_eq!(shown(&mut phone), "ahere s1");
    let five = ["1", "2", "3", "4", "5"].map(|name| format!("SELECT '{name}' AS event"));
    let (lost, other) = (server.backup(), with(&five.join(" UNION ALL ")));
    server.restore(&other.backup());
    let mut pages = Vec::new();
    for _ in 0..3 {
        phone.crash();
        let before = phone.sent.len();
        let error = phone.pass(&server).unwrap_err().to_string();
        assert!(error.contains("seats"), "{error}");
        assert_eq!(shown(&mut phone), "ahere s1");
        let paths = phone.sent[before..].iter().map(|request| request.path.as_str());
        pages.push(paths.filter(|path| *path == "/log/snapshot").count());
    }
    assert_eq!(pages, [3, 1, 1], "only the last page is requested again");
    server.restore(&lost);
    settle(&server, &mut [phone]);
}

/// Every pass failed, and no later entry reached the server.
#[apply(each_store)]
fn entry_that_is_too_large_for_the_server_blocks_no_other(store: Store) {
    let limits = Limits { body: 64 << 10, ..Limits::default() };
    let tables = vec![TableConfig::log("seats", "event", "event:")];
    let server = Backend::made(store, TABLES, tables, limits);
    server.server().grant("ana", "event:e1").unwrap();
    let [mut phone] = devices(&server, ["ana"]);
    let large = "x".repeat(100_000);
    phone.write(&format!("INSERT INTO seats VALUES ('s1', 'e1', NULL, '{large}', 1)"));
    phone.write("INSERT INTO seats VALUES ('s2', 'e1', NULL, '', 2)");
    let report = phone.sync(&server);
    assert_eq!((report.accepted, report.parked), (1, 1));
    assert_eq!(
        (phone.waiting(), server.see(SEATS)),
        ("Parked:Refused/0".into(), "s2|e1|-||2".into())
    );
    let parked = phone.queue()[0].id;
    decide::discard(phone.engine(), parked).unwrap();
    settle(&server, &mut [phone]);
}

#[test]
fn verdict_names_the_action_and_not_one_that_the_app_ended() {
    let server = server(Store::Sqlite);
    let ([mut phone, mut tablet], [_, second]) = sold_twice(&server);
    for device in [&mut tablet, &mut phone] {
        device.sync(&server);
    }
    tablet.sync(&server);
    let verdicts = tablet.engine().verdicts(0, 10).unwrap().entries;
    assert!(verdicts.iter().all(|one| one.action.as_deref() == Some("sell")), "{verdicts:?}");
    assert!(matches!(verdicts.last().unwrap().kind, VerdictKind::Parked(_)), "{verdicts:?}");
    decide::discard(tablet.engine(), second).unwrap();
    tablet.sync(&server);
    let undo = decide::undo(tablet.engine(), second);
    assert!(undo.is_err(), "{undo:?}");
}

/// Every insert from before the change was parked, since it named the column with NULL.
#[apply(each_store)]
fn unsent_insert_without_a_value_in_a_removed_column_is_accepted(store: Store) {
    let mut server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, 'kept', 1)");
    phone.write("INSERT INTO seats VALUES ('s2', 'e1', 'ana', 'parked', 2)");
    server.alter("ALTER TABLE seats DROP COLUMN owner");
    phone.sync(&server);
    assert_eq!(server.see("SELECT id, note FROM seats"), "s1|kept");
    assert_eq!(phone.waiting(), "Parked:Refused/0");
    assert_eq!(phone.see("SELECT id, note FROM seats"), "s1|kept");
}

/// A server behind a proxy that answers 413 itself.
struct SmallProxy<'s>(&'s Backend);

impl Peer for SmallProxy<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        let is_large = request.body.as_ref().is_some_and(|body| body.len() > 50_000);
        if is_large {
            let body = "<html>413 Request Entity Too Large</html>".into();
            return Some(Response { status: 413, body, ..Response::default() });
        }
        self.0.exchange(user, request)
    }
}

/// It waits until the way is free, and nothing waits behind it.
#[apply(each_store)]
fn entry_that_a_proxy_refuses_waits_alone(store: Store) {
    let server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    let large = "x".repeat(100_000);
    phone.write(&format!("INSERT INTO seats VALUES ('s1', 'e1', NULL, '{large}', 1)"));
    phone.write("INSERT INTO seats VALUES ('s2', 'e1', NULL, '', 2)");
    let report = phone.pass(&SmallProxy(&server)).unwrap();
    assert_eq!((report.accepted, report.parked, report.still_pending), (1, 0, 1));
    assert_eq!(server.see("SELECT id FROM seats"), "s2");
    settle(&server, &mut [phone]);
    assert_eq!(server.see("SELECT id FROM seats ORDER BY id"), "s1 s2");
}

/// A server of a release without the log model.
struct WithoutLog<'s>(&'s Backend);

impl Peer for WithoutLog<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        assert!(!request.path.starts_with("/log/"), "{} was requested", request.path);
        let mut response = self.0.exchange(user, request)?;
        if request.path.starts_with("/sync/register") {
            let mut body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            let capabilities = body["rejoin"]["capabilities"].as_array_mut().unwrap();
            capabilities.retain(|name| name != "log");
            response.body = serde_json::to_vec(&body).unwrap().into();
        }
        Some(response)
    }
}

#[test]
fn server_without_the_log_syncs_rows_and_leaves_entries_pending() {
    let server = server(Store::Sqlite);
    let mut phone = Device::bundled("ana", 9, server.manifest());
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, '', 1)");
    phone.write("INSERT INTO halls (id, name) VALUES ('h1', 'Hall')");
    for _ in 0..2 {
        let report = phone.pass(&WithoutLog(&server)).unwrap();
        assert_eq!((report.parked, report.still_pending), (0, 1), "{report:?}");
        assert_eq!((server.see(HALLS), server.see(SEATS)), ("h1|Hall".into(), String::new()));
        assert_eq!((phone.waiting(), phone.see(SEATS)), ("Pending/0".into(), "s1|e1|-||1".into()));
    }
    // The server is updated, which the app need not restart for.
    settle(&server, &mut [phone]);
    assert_eq!(server.see(SEATS), "s1|e1|-||1");
}

/// Each pass sent 5,000 requests: the device ignored the snapshot of a log that ends before its position,
/// and asked for it again.
#[apply(each_store)]
fn log_that_lost_entries_without_a_new_epoch_is_an_error_that_names_the_remedy(store: Store) {
    let mut server = server(store);
    let [mut phone, mut tablet] = devices(&server, ["ana", "ben"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, 'one', 1)");
    phone.sync(&server);
    let backup = server.backup();
    phone.write("UPDATE seats SET note = 'after the backup' WHERE id = 's1'");
    phone.sync(&server);
    tablet.sync(&server);
    server.restore(&backup);
    let before = phone.sent.len();
    let error = phone.pass(&server).unwrap_err().to_string();
    assert!(error.contains("rejoin-server log new-epoch"), "{error}");
    assert!(phone.sent.len() - before < 40, "{} requests", phone.sent.len() - before);
    assert_eq!(phone.see(SEATS), "s1|e1|-|after the backup|1");
    server.server().begin_epoch().unwrap();
    settle(&server, &mut [phone, tablet]);
    assert_eq!(server.see(SEATS), "s1|e1|-|after the backup|1");
}

/// Each of them gets a new key, and none makes the pass give up.
#[apply(each_store)]
fn entries_of_a_clock_that_is_far_ahead_are_all_accepted_in_one_pass(store: Store) {
    let server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.host.advance(Duration::from_hours(1));
    for at in 0..30 {
        phone.write(&format!("INSERT INTO seats VALUES ('s{at}', 'e1', NULL, '', {at})"));
    }
    let report = phone.pass(&server).unwrap();
    assert_eq!((report.accepted, report.still_pending), (30, 0));
    settle(&server, &mut [phone]);
}

/// Another cause of a snapshot, a new column, accepted the older one: the server never got the entry back.
#[apply(each_store)]
fn only_resync_takes_an_older_snapshot_and_publishes_again_what_it_lacks(store: Store) {
    let mut server = server(store);
    let [mut phone] = devices(&server, ["ana"]);
    phone.write("INSERT INTO seats VALUES ('s1', 'e1', NULL, 'one', 1)");
    phone.sync(&server);
    let backup = server.backup();
    phone.write("UPDATE seats SET note = 'after the backup' WHERE id = 's1'");
    phone.sync(&server);
    server.restore(&backup);
    server.alter("ALTER TABLE seats ADD COLUMN price BIGINT DEFAULT 7");
    let error = phone.pass(&server).unwrap_err().to_string();
    assert!(error.contains("else call resync"), "{error}");
    phone.resync();
    settle(&server, &mut [phone]);
    assert_eq!(server.see(SEATS), "s1|e1|-|after the backup|1");
}
