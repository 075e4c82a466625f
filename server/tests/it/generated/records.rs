//! Generated pushes of plain peers: records that are evaluated together have the results of records that are evaluated one by one,
//! and over PostgreSQL the results of a file.

use super::*;

/// A host that keeps everything. With a host, a server evaluates records one by one.
#[derive(Debug)]
struct Silent;

impl Hooks for Silent {}

fn one_by_one(config: Config) -> Config {
    registered(config).with_hooks(Arc::new(Silent))
}

/// A record for this change.
fn record(random: &mut fastrand::Rng, change: &Value) -> Value {
    let mut record = change.clone();
    let object = record.as_object_mut().unwrap();
    object.retain(|name, _| ["table_name", "operation", "id", "data"].contains(&name.as_str()));
    let year = any(random, &["2020", "2030", "2030", "2030"]);
    record["client_updated_at"] = json!(format!("{year}-01-01T00:00:00Z"));
    match random.usize(..6) {
        0 => record["base_updated_at"] = json!("2020-01-01T00:00:00Z"),
        1 => record["base_updated_at"] = json!("2040-01-01T00:00:00Z"),
        _ => {}
    }
    record
}

/// The results of a push without times and messages.
async fn results(device: &mut Device<'_>, records: &[Value]) -> Vec<Value> {
    let (status, answer) = device.post("/sync/push", json!({"changes": records})).await;
    assert_eq!(status, 200, "{answer}");
    let lists = ["accepted", "rejected"].map(|list| answer[list].as_array().unwrap().clone());
    let result = |mut result: Value| {
        for time in ["server_updated_at", "server_deleted_at"] {
            result[time] = json!(!result[time].is_null());
        }
        result.as_object_mut().unwrap().remove("message");
        timeless(result)
    };
    lists.into_iter().flatten().map(result).collect()
}

/// The results without reasons. Row level security hides the rows of other users, so another rule may reject a record there first.
fn applied(results: &[Value]) -> Vec<[&Value; 3]> {
    let applied = json!("applied");
    let is_applied = |result: &&Value| result["status"] == applied;
    let names = ["table_name", "id", "operation"];
    results.iter().filter(is_applied).map(|result| names.map(|name| &result[name])).collect()
}

/// A world with its plain devices and the devices that read its state.
struct Server<'w> {
    world: &'w World,
    plain: Vec<Device<'w>>,
    readers: Vec<Device<'w>>,
}

impl<'w> Server<'w> {
    async fn of(world: &'w World) -> Self {
        let mut plain = Vec::new();
        for user in USERS {
            plain.push(Device::plain(world, user, &format!("plain {user}")).await);
        }
        Self { world, plain, readers: devices(world).await }
    }
}

async fn run(backend: Backend, seed: u64, covered: &mut BTreeMap<String, usize>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut worlds =
        vec![World::with(backend, TABLES, registered), World::with(backend, TABLES, one_by_one)];
    if backend != Backend::Sqlite {
        worlds.push(World::with(Backend::Sqlite, TABLES, registered));
    }
    let mut servers = Vec::new();
    for world in &worlds {
        servers.push(Server::of(world).await);
    }
    let mut beliefs = [0, 1].map(|user| Beliefs { rows: BTreeMap::new(), user });
    for round in 0..8 {
        let user = random.usize(..USERS.len());
        let mut records = Vec::new();
        for _ in 0..random.usize(1..25) {
            let change = change(&mut random, &mut beliefs[user]);
            records.push(record(&mut random, &change));
        }
        // Devices send by the time of the last edit, so a child may come before its parent.
        if random.bool() {
            random.shuffle(&mut records);
        }
        let mut expected = None;
        for server in &mut servers {
            let results = results(&mut server.plain[user], &records).await;
            let state = state(server.world, &mut server.readers).await;
            for result in results.iter().filter(|_| expected.is_none()) {
                let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
                *covered.entry(text("status") + " " + &text("reason_code")).or_default() += 1;
            }
            let what = format!("seed {seed}, round {round}: {}", json!(records));
            let is_unsecured = backend == Backend::PostgresRls && !server.world.is_secured();
            let (first, then) = expected.get_or_insert((results.clone(), state.clone()));
            if is_unsecured {
                assert_eq!(applied(first), applied(&results), "{what}");
            } else {
                assert_eq!(*first, results, "{what}");
            }
            assert_eq!(*then, state, "{what}");
            server.world.clock.advance(1_000_000);
        }
    }
}

#[apply(secured_stores!)]
async fn records_evaluated_together_end_as_one_by_one(backend: Backend) {
    let mut covered = BTreeMap::new();
    for seed in 0..cases(6) {
        run(backend, seed, &mut covered).await;
    }
    let least = [
        ("applied ", 60),
        ("applied already_deleted", 1),
        ("conflict record_exists", 3),
        ("conflict record_deleted", 1),
        ("conflict server_won_conflict", 3),
        ("rejected_retryable create_failed", 3),
        ("rejected_terminal record_not_found", 3),
        ("rejected_terminal invalid_data", 1),
        ("rejected_terminal table_read_only", 1),
    ];
    for (word, least) in least {
        assert!(covered.get(word).is_some_and(|met| *met >= least), "{word}: {covered:?}");
    }
}
