//! Limits that protect a device from a broken or hostile server: bounded memory, and no endless
//! work.

use std::time::Duration;

use rejoin_core::sync::session::{Phase, Response};
use rejoin_core::{Client, Config, Error, SyncFault};
use rejoin_tests::{Device, Door, Loss, Moment, PlainBackend};
use serde_json::json;
use tempfile::TempDir;

use crate::client::PATIENCE;
use crate::hostile::{TestServer, sides};
use crate::junk::changed;

const SEE: &str = "SELECT id, name FROM places ORDER BY id";

/// The limit for one response, and for the pages of one transaction together.
const BOUND: usize = 64 << 20;

/// A page in the middle of a transaction, with one row of this many bytes.
fn partial(response: &Response, page: usize, bytes: usize) -> Response {
    changed(response, |json| {
        json["has_more"] = json!(true);
        let ours = &mut json["rejoin"];
        ours["partial"] = json!(true);
        ours["cursor"] = json!(format!("made up {page}"));
        ours["sets"] = json!([{
            "table_name": "places", "columns": ["id", "name"],
            "rows": [[format!("big{page}"), "x".repeat(bytes)]],
        }]);
    })
}

#[test]
fn endless_transaction_is_replaced_by_a_snapshot() {
    let [side, _] = sides();
    let mut device = Device::new("ana", 1);
    device.sync(&*side.server);
    device.until(&*side.server, Phase::Pulling).unwrap();
    let bytes = 8 << 20;
    let mut pages = 0;
    while device.prepare().unwrap() == Moment::Leaving(Phase::Pulling) {
        pages += 1;
        assert!(pages <= BOUND / bytes + 1, "{pages} pages of {bytes} bytes are held");
        device.step_with(&*side.server, |response| partial(&response, pages, bytes)).unwrap();
        assert_eq!(device.see(SEE), "p1|A p2|B", "no part of it is seen");
    }
    assert_eq!(device.prepare().unwrap(), Moment::Leaving(Phase::Snapshot));
    device.sync(&*side.server);
    assert_eq!(device.see(SEE), "p1|A p2|B");
}

#[test]
fn partial_transaction_is_dropped_with_the_pass() {
    let [side, _] = sides();
    let mut device = Device::new("ana", 1);
    device.sync(&*side.server);
    device.until(&*side.server, Phase::Pulling).unwrap();
    device.step_with(&*side.server, |response| partial(&response, 1, 10)).unwrap();
    device.step_with(&*side.server, |response| Response { status: 500, ..response }).unwrap_err();
    device.sync(&*side.server);
    assert_eq!(device.see(SEE), "p1|A p2|B");
}

/// Pages that always announce more and contain nothing.
fn endless(side: &TestServer) {
    let mut device = Device::new("ana", 1);
    device.sync(&*side.server);
    device.until(&*side.server, Phase::Pulling).unwrap();
    let mut first: Option<Response> = None;
    let mut page = 0_i64;
    let error = loop {
        assert!(page < 9_000, "{}: the pass ends", side.name);
        // The first response again and again, changed to look like the next one.
        let on = |response: Response| {
            let first = first.get_or_insert(response).clone();
            changed(&first, |json| {
                json["has_more"] = json!(true);
                json["checkpoint"] = json!(1_000_000 + page);
                if let Some(ours) = json.get_mut("rejoin") {
                    ours["request"] = json!(ours["request"].as_i64().unwrap() + page);
                    ours["cursor"] = json!(format!("made up {}", page % 2));
                }
            })
        };
        if let Err(error) = device.step_with(&*side.server, on) {
            break error;
        }
        page += 1;
    };
    let typed = error.downcast_ref::<Error>();
    assert!(
        matches!(typed, Some(Error::Sync(SyncFault::Protocol(why))) if why.contains("without an end")),
        "{error}"
    );
    for _ in 0..2 {
        device.sync(&*side.server);
    }
    assert_eq!(device.see(SEE), "p1|A p2|B", "{}", side.name);
}

#[test]
fn circular_or_endless_log_ends_the_pass() {
    for side in sides() {
        endless(&side);
    }
}

#[test]
fn client_drops_oversized_responses_and_continues() {
    let table = [
        ("/sync/register", Loss::Flood),
        ("/sync/schema", Loss::Bomb),
        ("/sync/snapshot", Loss::Flood),
        ("/sync/snapshot", Loss::Bomb),
        ("/sync/push", Loss::Flood),
        ("/sync/pull", Loss::Bomb),
    ];
    for (path, flood) in table {
        let door = Door::before(PlainBackend::new());
        let row = json!({"id": "p1", "name": "A", "user_id": "ana"});
        door.plain(|plain| plain.insert("places", &row));
        let folder = TempDir::new().unwrap();
        let mut config = Config::new(folder.path().join("app.db"));
        config.server = Some(door.url.clone());
        config.user_id = Some("ana".to_owned());
        config.schema = (path != "/sync/schema").then(|| door.plain(PlainBackend::manifest));
        config.sync_interval = Duration::from_hours(1);
        let client = Client::open(config).wait().unwrap();
        if path != "/sync/schema" {
            let sql = "INSERT INTO places (id, name, user_id) VALUES ('p2', 'B', 'ana')";
            client.execute(sql, ()).wait().unwrap();
        }
        door.lose(flood, path);
        let sync = || client.sync().run(Some(PATIENCE)).wait();
        let refused = sync();
        assert!(
            matches!(refused, Err(Error::Sync(SyncFault::Protocol(_)))),
            "{flood:?} {path}: {refused:?}"
        );
        let poured = door.poured();
        // Beyond the limit only what the sockets' buffers hold, which depends on the machine.
        assert!(poured < 2 * BOUND as u64, "{flood:?} {path}: {poured} bytes");
        let report = sync().unwrap();
        assert_eq!((report.parked, report.still_pending), (0, 0), "{flood:?} {path}");
        let rows = client.query(SEE, ()).wait().unwrap();
        let arrived = door.plain(|plain| plain.see("places", &["id"]));
        assert_eq!(rows.len(), arrived.split(' ').count(), "{flood:?} {path}: {arrived}");
    }
}
