//! Manifests of a hostile server on a device with edits: what would stop writes is left out by name, and
//! everything else goes on.

use rejoin_core::sync::session::{Phase, Response};
use rejoin_core::{Error, InputFault, SyncFault};
use rejoin_protocol::Manifest;
use rejoin_tests::{Backend, Device, Moment, Store};
use serde_json::{Value, json};

use crate::junk::changed;
use crate::places::{PLACES, one_place};

/// Runs a pass in which the server claims to have other rules, and sends this schema.
fn pass(
    server: &Backend,
    device: &mut Device,
    change: &dyn Fn(&mut Value),
) -> Result<(), anyhow::Error> {
    device.crash();
    device.until(server, Phase::Registering)?;
    device.step_with(server, |response| {
        changed(&response, |json| json["rejoin"]["rules_hash"] = json!("others"))
    })?;
    device.until(server, Phase::FetchingSchema)?;
    device.step_with(server, |response: Response| changed(&response, change)).map(drop)
}

/// The extension of the table of places.
fn places(json: &mut Value) -> &mut Value {
    let tables = json["tables"].as_array_mut().unwrap();
    let places = tables.iter_mut().find(|table| table["table_name"] == "places").unwrap();
    &mut places["rejoin"]
}

/// The reasons of what the device has left out.
fn left_out(device: &Device) -> String {
    device.raw("SELECT value ->> '$.parts' FROM rejoin_meta WHERE key = 'left_out'")
}

#[test]
fn rule_that_would_stop_writes_is_left_out_and_edits_stay() {
    type Changed = (&'static str, &'static str, &'static dyn Fn(&mut Value));
    fn check(json: &mut Value, expression: &str) {
        places(json)["rules"] = json!([{"kind": "check", "name": "r", "expression": expression}]);
    }
    let table: [Changed; 4] = [
        ("CHECK r", "randomblob", &|json| check(json, "length(randomblob(1000000000)) > 0")),
        ("CHECK r", "load_extension", &|json| check(json, "load_extension('x') IS NULL")),
        ("CHECK r", "match", &|json| check(json, "name MATCH 'x'")),
        ("rules, indexes and generated columns", "1000", &|json| {
            let rule = json!({"kind": "unique", "columns": ["name"]});
            places(json)["rules"] = json!(vec![rule; 1_001]);
        }),
    ];
    for (what, named, change) in table {
        let (server, mut device) = one_place(Store::Sqlite);
        device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
        let changed = |json: &mut Value| {
            change(json);
            json["rejoin"]["rules_hash"] = json!("others");
        };
        pass(&server, &mut device, &changed).unwrap();
        let reasons = left_out(&device);
        assert!(reasons.contains(what) && reasons.contains(named), "{reasons}");
        device.write("UPDATE places SET note = 'more' WHERE id = 'p1'");
        device.crash().sync(&server);
        assert_eq!(left_out(&device), "");
        assert_eq!(
            (device.see(PLACES), server.see(PLACES)),
            ("p1|Mine|more|3".into(), "p1|Mine|more|3".into())
        );
    }
}

#[test]
fn manifest_without_a_table_that_can_be_built_is_refused() {
    let (server, mut device) = one_place(Store::Sqlite);
    device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
    let before = device.raw("SELECT value FROM rejoin_meta WHERE key = 'manifest'");
    let error = pass(&server, &mut device, &|json| {
        let generated = json!([{"name": "made", "sql_type": "INTEGER", "stored": true,
            "expression": "abs(-9223372036854775807 - 1)"}]);
        for table in json["tables"].as_array_mut().unwrap() {
            table["rejoin"]["generated"] = generated.clone();
        }
    });
    let error = error.unwrap_err();
    let Some(Error::InvalidInput(InputFault::SchemaRefused { table, reason })) =
        error.downcast_ref()
    else {
        panic!("{error}");
    };
    assert_eq!(table, "places");
    assert!(reason.contains("column made") && reason.contains("integer overflow"), "{reason}");
    assert_eq!(device.raw("SELECT value FROM rejoin_meta WHERE key = 'manifest'"), before);
    device.write("UPDATE places SET note = 'more' WHERE id = 'p1'");
    device.crash().sync(&server);
    assert_eq!(
        (device.see(PLACES), server.see(PLACES)),
        ("p1|Mine|more|3".into(), "p1|Mine|more|3".into())
    );
}

/// A valid manifest with one more column, another one each time.
fn with_column(server: &Backend, number: usize) -> Manifest {
    let mut manifest = server.manifest();
    let places = manifest.tables.iter_mut().find(|table| table.table_name == "places").unwrap();
    let mut column = places.columns[1].clone();
    column.name = format!("other_{number}");
    places.columns.push(column);
    manifest.schema_hash = manifest.hash();
    manifest
}

/// The device rebuilds its table at each turn; the pass ends, and edits stay.
#[test]
fn schema_that_changes_at_each_request_ends_the_pass() {
    let (server, mut device) = one_place(Store::Sqlite);
    device.write("UPDATE places SET name = 'Mine' WHERE id = 'p1'");
    let mut fetched = 0;
    let error = loop {
        assert!(fetched < 100, "it ends");
        let stepped = device.prepare().and_then(|moment| {
            device.step_with(&server, |response| {
                if moment == Moment::Leaving(Phase::FetchingSchema) {
                    fetched += 1;
                    let manifest = serde_json::to_vec(&with_column(&server, fetched)).unwrap();
                    return Response { body: manifest.into(), ..response };
                }
                let next = with_column(&server, fetched + 1).schema_hash;
                changed(&response, |json| json["schema_hash"] = json!(next))
            })
        });
        if let Err(error) = stepped {
            break error;
        }
    };
    assert!(
        matches!(error.downcast_ref(), Some(Error::Sync(SyncFault::Protocol(why))) if why.contains("without agreeing")),
        "{error}"
    );
    assert!(fetched > 1);
    assert_eq!(device.see(PLACES), "p1|Mine|n|3");
    device.crash().sync(&server);
    assert_eq!((device.waiting(), server.see(PLACES)), (String::new(), "p1|Mine|n|3".into()));
}
