//! A team on real devices: members edit the same rows, a viewer reads, and rights come and go under
//! edits that wait.

use rejoin_server::{Limits, MembershipConfig, PushPolicy, TableConfig};
use rejoin_tests::{Backend, Device, Fault, Store};

use crate::{apply, each_store};

const TABLES: &str = "
    CREATE TABLE reports (id TEXT PRIMARY KEY, team TEXT, author TEXT, title TEXT, note TEXT, updated_at TEXT);
    CREATE TABLE remarks (id TEXT PRIMARY KEY, report_id TEXT, body TEXT, updated_at TEXT);
    CREATE TABLE drafts (id TEXT PRIMARY KEY, owner_id TEXT, body TEXT, updated_at TEXT);";

const REPORTS: &str = "SELECT id, title, note FROM reports ORDER BY id";
const REMARKS: &str = "SELECT id, body FROM remarks ORDER BY id";

fn grant(server: &Backend, user: &str, writes: bool) {
    let team = format!("DELETE FROM rejoin_bucket WHERE user_id = '{user}'");
    server.outside(&team);
    server.outside(&format!(
        "INSERT INTO rejoin_bucket (user_id, bucket, writes) VALUES ('{user}', 'team:red', '{}')",
        i32::from(writes)
    ));
}

fn revoke(server: &Backend, user: &str) {
    server.outside(&format!("DELETE FROM rejoin_bucket WHERE user_id = '{user}'"));
}

/// Ana and bob are members of team red, vera reads it; the devices have one report with a remark.
fn team(store: Store) -> (Backend, [Device; 3]) {
    let reports = TableConfig::new("reports").with_bucket("team", "team:");
    let reports = TableConfig { owner_column: Some("author".into()), ..reports };
    let tables = vec![
        reports.with_push(PushPolicy::Bucket),
        TableConfig::child("remarks", "reports", "report_id"),
        TableConfig::owned("drafts", "owner_id"),
    ];
    let server = Backend::made(store, TABLES, tables, Limits::default());
    for (user, writes) in [("ana", true), ("bob", true), ("vera", false)] {
        grant(&server, user, writes);
    }
    let mut devices =
        [("ana", 1), ("bob", 2), ("vera", 3)].map(|(user, seed)| Device::new(user, seed));
    devices[0].sync(&server);
    devices[0].write("INSERT INTO reports (id, team, title, note) VALUES ('r1', 'red', 'a', 'n')");
    devices[0].write("INSERT INTO remarks (id, report_id, body) VALUES ('m1', 'r1', 'x')");
    for device in &mut devices {
        device.sync(&server);
        assert_eq!(device.see(REPORTS), "r1|a|n");
    }
    (server, devices)
}

#[apply(each_store)]
fn members_edit_the_same_row(store: Store) {
    let (server, [mut ana, mut bob, _]) = team(store);
    // Different columns of one row merge, the same column is decided by the policy.
    ana.write("UPDATE reports SET title = 'of ana' WHERE id = 'r1'");
    bob.write("UPDATE reports SET note = 'of bob' WHERE id = 'r1'");
    ana.sync(&server);
    bob.sync(&server);
    ana.sync(&server);
    for device in [&mut ana, &mut bob] {
        assert_eq!(
            (device.see(REPORTS), device.waiting()),
            ("r1|of ana|of bob".into(), String::new())
        );
    }
    ana.write("UPDATE reports SET title = 'hers' WHERE id = 'r1'");
    bob.write("UPDATE reports SET title = 'his' WHERE id = 'r1'");
    ana.sync(&server);
    bob.sync(&server);
    assert_eq!(
        (bob.see(REPORTS), bob.waiting()),
        ("r1|hers|of bob".into(), "Parked:Conflicted/1".into())
    );
    // A member deletes what another has written, with its remark.
    ana.write("DELETE FROM remarks WHERE id = 'm1'").write("DELETE FROM reports WHERE id = 'r1'");
    ana.sync(&server);
    bob.sync(&server);
    assert_eq!((bob.see(REPORTS), bob.see(REMARKS)), (String::new(), String::new()));
}

#[apply(each_store)]
fn edits_of_a_viewer_are_parked_and_stop_nothing(store: Store) {
    let (server, [_, _, mut vera]) = team(store);
    vera.write("UPDATE reports SET title = 'vera' WHERE id = 'r1'");
    vera.write("INSERT INTO remarks (id, report_id, body) VALUES ('m2', 'r1', 'vera')");
    vera.write("INSERT INTO drafts (id, body) VALUES ('d1', 'mine')");
    let report = vera.sync(&server);
    assert_eq!((report.accepted, report.parked), (1, 2));
    assert_eq!(vera.waiting(), "Parked:Refused/1 Parked:Refused/1");
    assert_eq!((vera.see(REPORTS), vera.see(REMARKS)), ("r1|a|n".into(), "m1|x".into()));
    let detail = vera.queue()[0].detail.clone().unwrap();
    assert!(detail.contains("team:red"), "the bucket is named: {detail}");
}

/// The right is lost while an edit waits: it is parked with its values, and the rows leave.
#[apply(each_store)]
fn lost_right_parks_the_edit_and_removes_the_rows(store: Store) {
    for answer_is_lost in [false, true] {
        let (server, [mut ana, mut bob, _]) = team(store);
        bob.write("UPDATE reports SET title = 'of bob' WHERE id = 'r1'");
        bob.write("INSERT INTO reports (id, team, title) VALUES ('r2', 'red', 'new')");
        bob.write("INSERT INTO drafts (id, body) VALUES ('d1', 'mine')");
        if answer_is_lost {
            // The server has accepted them before.
            bob.lose_push(&server, Fault::AnswerLost);
        }
        revoke(&server, "bob");
        bob.crash().sync(&server);
        assert_eq!((bob.see(REPORTS), bob.see(REMARKS)), (String::new(), String::new()));
        assert_eq!(bob.see("SELECT id FROM drafts"), "d1");
        ana.sync(&server);
        if answer_is_lost {
            assert_eq!(bob.waiting(), "");
            assert_eq!(ana.see(REPORTS), "r1|of bob|n r2|new|-");
            continue;
        }
        assert_eq!(ana.see(REPORTS), "r1|a|n");
        let parked = bob.waiting();
        assert_eq!(
            parked.split(' ').filter(|state| state.starts_with("Parked")).count(),
            2,
            "{parked}"
        );
        let kept = bob.queue()[0].effect.rows[0]
            .columns
            .iter()
            .any(|column| column.new == "of bob".into());
        assert!(kept, "{:?}", bob.queue());
        // The right returns: the rows come back, and the parked edits can be sent again.
        grant(&server, "bob", true);
        bob.sync(&server);
        assert_eq!(bob.see(REPORTS), "r1|a|n");
    }
}

/// The rows of a team, its members and its reports are in the bucket of the team.
#[apply(each_store)]
fn team_that_is_created_offline_is_sent_with_its_rows(store: Store) {
    let sql = "
        CREATE TABLE team (id TEXT PRIMARY KEY, owner TEXT, name TEXT, updated_at TEXT);
        CREATE TABLE team_member (
            id TEXT PRIMARY KEY, team_id TEXT, user_id TEXT, role TEXT, updated_at TEXT);
        CREATE TABLE reports (id TEXT PRIMARY KEY, team_id TEXT, title TEXT, updated_at TEXT);";
    let by = |table: &str| TableConfig::new(table).with_bucket("team_id", "team:");
    let tables = vec![
        TableConfig::owned("team", "owner").with_bucket("id", "team:"),
        by("team_member").with_push(PushPolicy::Bucket),
        by("reports").with_push(PushPolicy::Bucket),
    ];
    let mut server = Backend::made(store, sql, tables, Limits::default());
    let query =
        "SELECT user_id, 'team:' || team_id AS bucket, role <> 'viewer' AS writes FROM team_member";
    let tables = vec!["team_member".to_owned()];
    server.set_membership(MembershipConfig { query: query.to_owned(), tables });
    let (mut ana, mut bob) = (Device::new("ana", 1), Device::new("bob", 2));
    ana.sync(&server);
    bob.sync(&server);
    ana.write(
        "INSERT INTO team (id, name) VALUES ('t', 'red');
         INSERT INTO team_member (id, team_id, user_id, role) VALUES ('a', 't', 'ana', 'editor')",
    );
    ana.write("INSERT INTO reports (id, team_id, title) VALUES ('r', 't', 'first')");
    ana.write(
        "INSERT INTO team_member (id, team_id, user_id, role) VALUES ('b', 't', 'bob', 'viewer')",
    );
    ana.sync(&server);
    assert_eq!(ana.waiting(), "");
    bob.sync(&server);
    for device in [&mut ana, &mut bob] {
        assert_eq!(device.see("SELECT id, title FROM reports"), "r|first");
        assert_eq!(device.see("SELECT id FROM team_member ORDER BY id"), "a b");
    }
}
