//! Generated programs of actions: whole clients in files, over sockets to the server. They act while they
//! are offline, and while a sync runs.

use std::sync::Arc;

use fastrand::Rng;
use rejoin_core::engine::action::Actions;
use rejoin_core::{ActionFault, Client, Error, Network, ParkReason, PendingMutation, Services};
use rejoin_server::Clock as _;
use rejoin_tests::{Backend, Store, cases};
use serde_json::json;

use super::{SEATS, server};
use crate::client::{PATIENCE, Phone, Served};

/// Six actions on a seat; all but `create` require that it exists, and `sell` and `delete` that it
/// is not sold.
fn actions() -> Arc<Actions> {
    let exists = r#"{"sql": "SELECT 1 FROM seats WHERE id = :id", "message": "no such seat"}"#;
    let unsold = r#"{"sql": "SELECT owner IS NULL FROM seats WHERE id = :id", "message": "the seat is sold"}"#;
    let action = |name: &str, preconditions: &str, statement: &str| {
        format!(
            r#"{{"name": "{name}", "preconditions": [{preconditions}], "statements": ["{statement}"],
                "parameters": [{{"name": "id", "type": "text"}}, {{"name": "text", "type": "text"}}]}}"#
        )
    };
    let both = format!("{exists}, {unsold}");
    let update = |set: &str| format!("UPDATE seats SET {set} WHERE id = :id");
    let all = [
        action("create", "", "INSERT OR IGNORE INTO seats VALUES (:id, 'e1', NULL, :text, 0)"),
        action("append", exists, &update("note = note || :text")),
        action("toggle", exists, &update("number = 1 - number, note = :text")),
        action("set", exists, &update("note = :text")),
        action("sell", &both, &update("owner = :text")),
        action("delete", &both, "DELETE FROM seats WHERE id = :id AND :text <> ''"),
    ];
    Arc::new(all.iter().fold(Actions::new(), |actions, json| actions.declare(json)))
}

fn clients(served: &Served, count: usize) -> Vec<Phone> {
    let users = ["ana", "ben", "ana"].into_iter().cycle().take(count);
    let client = |user| {
        let services = Services { actions: Some(actions()), ..Services::default() };
        Phone::with_services(user, Some(&served.url), services, |_| {})
    };
    let clients: Vec<Phone> = users.map(client).collect();
    for phone in &clients {
        phone.client.start().unwrap();
        phone.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    }
    clients
}

fn perform(client: &Client, action: &str, id: &str, text: &str) {
    match client.perform(action, json!({"id": id, "text": text})).wait() {
        Ok(_) | Err(Error::Action { fault: ActionFault::Precondition(_), .. }) => {}
        Err(error) => panic!("{action} {id}: {error}"),
    }
}

/// Each program has seats of its own: sold ones stay sold.
fn run(seed: u64, clients: &[Phone]) {
    let mut rng = Rng::with_seed(seed);
    for seat in 0..4 {
        perform(&clients[0].client, "create", &format!("s{seed}-{seat}"), "");
    }
    for phone in clients {
        phone.sync();
    }
    let mut is_online = vec![true; clients.len()];
    for step in 0..10 * clients.len() {
        let at = rng.usize(..clients.len());
        let client = &clients[at].client;
        if rng.u8(..4) == 0 {
            is_online[at] ^= true;
            client.sync().set_network(Network { online: is_online[at], metered: false });
            continue;
        }
        let actions = ["create", "append", "append", "toggle", "set", "sell", "sell", "delete"];
        let action = actions[rng.usize(..actions.len())];
        perform(client, action, &format!("s{seed}-{}", rng.u8(..4)), &format!("{step} "));
    }
    for phone in clients {
        phone.client.sync().set_network(Network { online: true, metered: false });
    }
}

fn rows(phone: &Phone) -> String {
    let rows = phone.client.query(SEATS, ()).wait().unwrap();
    let cell = |row: &rejoin_core::Row<'_>, name: &str| {
        row.get::<Option<String>>(name).unwrap().unwrap_or_else(|| String::from("-"))
    };
    let line = |row: rejoin_core::Row<'_>| {
        let number = row.get::<i64>("number").unwrap();
        let texts = ["id", "event", "owner", "note"].map(|name| cell(&row, name)).join("|");
        format!("{texts}|{number}")
    };
    rows.iter().map(line).collect::<Vec<_>>().join(" ")
}

fn pending(phone: &Phone) -> Vec<PendingMutation> {
    phone.client.queue().all().wait().unwrap()
}

/// Syncs until nothing waits, discards what now rejects, and compares all with the server.
/// Returns how many.
fn settle(seed: u64, server: &Backend, clients: &[Phone]) -> usize {
    let is_parked = |one: &PendingMutation| one.reason == Some(ParkReason::Unreplayable);
    for _ in 0..50 {
        let (before, mut waits) = (server.see(SEATS), false);
        for phone in clients {
            phone.sync();
            waits |= !pending(phone).iter().all(is_parked);
        }
        if !waits && before == server.see(SEATS) && clients.iter().all(|one| rows(one) == before) {
            let mut rejected = 0;
            for phone in clients {
                for parked in pending(phone) {
                    phone.client.queue().discard(parked.id).wait().unwrap();
                    rejected += 1;
                }
            }
            return rejected;
        }
    }
    let rows: Vec<String> = clients.iter().map(rows).collect();
    panic!("seed {seed}: {rows:#?}, and the server has {}", server.see(SEATS));
}

fn programs(count: usize) {
    let server = server(Store::Sqlite);
    let network = Served::uncounted(&server);
    let clients = clients(&network, count);
    let mut rejected = 0;
    for seed in 0..cases(12) {
        // The clients' clock is the machine's.
        server.clock.advance(rejoin_server::SystemClock.now() - server.clock.now());
        run(seed, &clients);
        rejected += settle(seed, &server, &clients);
    }
    assert!(rejected > 5, "{rejected} actions were rejected later");
}

#[test]
fn programs_of_three_clients_leave_equal_rows_everywhere() {
    programs(3);
}

#[test]
fn programs_of_six_clients_leave_equal_rows_everywhere() {
    programs(6);
}
