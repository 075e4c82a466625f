//! Streams: a device holds the rows of a project only while it subscribes to it, and its user has the
//! right.

use macro_rules_attribute::apply;
use rejoin_protocol::Manifest;
use rejoin_protocol::argument::{Parameter, ParameterType};
use rejoin_protocol::wire::digest::DigestAnswer;
use rejoin_protocol::wire::subscription::{RefusalCode, Subscription, SubscriptionState};
use rejoin_server::{Config, PushPolicy, Server, StreamConfig, TableConfig};
use serde_json::{Value, json};

use crate::device::{Rows, named};
use crate::events::Listening;
use crate::schema::manifest;
use crate::world::{Backend, Device, World, cases, create, ended, update};

const TABLES: &str = "
    CREATE TABLE member(user_id TEXT, project_id INTEGER, role TEXT, PRIMARY KEY (user_id, project_id));
    CREATE TABLE tasks(id TEXT PRIMARY KEY, project INTEGER, title TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE comments(id TEXT PRIMARY KEY, task_id TEXT, body TEXT, updated_at TEXT, deleted_at TEXT);
    CREATE TABLE notes(id TEXT PRIMARY KEY, owner TEXT, updated_at TEXT);
";

const ALLOW: &str =
    "SELECT role <> 'viewer' FROM member WHERE user_id = :user AND project_id = :project";

fn project_stream(allow: &str) -> StreamConfig {
    let stream = StreamConfig::new("project", "project:{project}", allow);
    stream.with_parameter(Parameter::new("project", ParameterType::Integer))
}

fn projects(config: Config) -> Config {
    let tasks = TableConfig::new("tasks").with_bucket("project", "project:");
    config
        .with_table(tasks.with_push(PushPolicy::Bucket))
        .with_table(TableConfig::child("comments", "tasks", "task_id"))
        .with_table(TableConfig::owned("notes", "owner"))
        .with_stream(project_stream(ALLOW))
}

/// Anna and ben write in project 1; anna reads project 2; of project 3 she is no member.
fn world(backend: Backend) -> World {
    let world = World::with(backend, TABLES, projects);
    world.write(
        "INSERT INTO member VALUES('anna', 1, 'editor'), ('ben', 1, 'editor'), ('anna', 2, 'viewer'),
           ('ben', 3, 'editor');
         INSERT INTO tasks(id, project, title) VALUES('a', 1, 'x'), ('b', 2, 'x'), ('c', 3, 'x');
         INSERT INTO comments(id, task_id, body) VALUES('ca', 'a', 'x'), ('cb', 'b', 'x');
         INSERT INTO notes(id, owner) VALUES('n', 'anna')",
    );
    world
}

fn stream(name: &str, value: &str, priority: u8) -> Subscription {
    let parameters = [("project".to_owned(), value.to_owned())].into();
    Subscription { stream: name.to_owned(), parameters, priority }
}

fn project(number: u32) -> Subscription {
    stream("project", &number.to_string(), 3)
}

/// Pulls to the end; returns the states of the subscriptions in the last page.
async fn states(device: &mut Device<'_>) -> Vec<SubscriptionState> {
    loop {
        let page = device.pull_page(100).await;
        if !page.has_more {
            return page.rejoin.unwrap().subscriptions;
        }
    }
}

fn refusal(state: &SubscriptionState) -> Option<RefusalCode> {
    match state {
        SubscriptionState::Refused { code, .. } => Some(*code),
        _ => None,
    }
}

#[apply(secured_stores!)]
async fn rows_of_a_project_reach_a_device_only_while_it_subscribes(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a").await;
    let mut other = world.device("anna", "other").await;
    assert_eq!(anna.snapshot(9).await, ["notes/n"]);
    assert_eq!(other.snapshot(9).await, ["notes/n"]);
    anna.subscriptions = vec![project(1), project(2)];
    let mut rows = anna.pull().await;
    rows.sort();
    assert_eq!(rows, ["comments/ca", "comments/cb", "tasks/a", "tasks/b"]);
    assert_eq!(states(&mut anna).await, [SubscriptionState::Current, SubscriptionState::Current]);
    world.write("UPDATE tasks SET title = 'y'");
    assert_eq!(anna.pull().await, ["tasks/a", "tasks/b"]);
    anna.subscriptions.remove(0);
    assert_eq!(anna.pull().await, ["-comments/ca", "-tasks/a"]);
    assert!(other.pull().await.is_empty(), "a subscription belongs to one device");
    let mut third = world.device("anna", "third").await;
    third.subscriptions = vec![project(2)];
    assert_eq!(third.snapshot(9).await, ["comments/cb", "notes/n", "tasks/b"]);
    assert!(third.pull().await.is_empty(), "the snapshot had its rows");
}

#[apply(secured_stores!)]
async fn grant_of_a_bucket_of_a_stream_brings_nothing(backend: Backend) {
    let world = world(backend);
    world.server.grant("anna", "project:3").unwrap();
    let mut anna = world.device("anna", "a").await;
    assert_eq!(anna.snapshot(9).await, ["notes/n"]);
    anna.subscriptions = vec![project(3)];
    let states = states(&mut anna).await;
    assert_eq!(refusal(&states[0]), Some(RefusalCode::Forbidden), "the query decides alone");
    let new = create("tasks", "new", &json!({"project": 3, "title": "x"}));
    assert_ne!(ended(&anna.push("m", json!([new])).await.0), "accepted -");
}

#[apply(secured_stores!)]
async fn query_of_the_stream_decides_who_writes(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a").await;
    anna.snapshot(9).await;
    let retitle = |id: &str| update("tasks", id, &json!({"title": "x"}), &json!({"title": "y"}));
    let new = |id: &str, project: i64| create("tasks", id, &json!({"project": project}));
    let remark = |id: &str, task: &str| create("comments", id, &json!({"task_id": task}));
    for (id, change, without, with) in [
        ("edit", retitle("a"), "row.not_found", "accepted -"),
        ("create", new("new", 1), "refused", "accepted -"),
        ("comment", remark("new", "a"), "references", "accepted -"),
        ("viewer", retitle("b"), "row.not_found", "refused ownership"),
        ("viewer creates", new("new2", 2), "refused", "refused"),
        ("stranger", retitle("c"), "row.not_found", "row.not_found"),
        ("stranger creates", new("new3", 3), "refused", "refused"),
    ] {
        anna.subscriptions.clear();
        let (verdict, _) = anna.push(&format!("{id} 1"), json!([change.clone()])).await;
        assert!(ended(&verdict).contains(without), "{id} without: {verdict:?}");
        anna.subscriptions = vec![project(1), project(2), project(3)];
        let (verdict, _) = anna.push(&format!("{id} 2"), json!([change])).await;
        assert!(ended(&verdict).contains(with), "{id} with: {verdict:?}");
    }
    let moved = update("tasks", "a", &json!({"project": 1}), &json!({"project": 2}));
    assert_ne!(ended(&anna.push("move", json!([moved])).await.0), "accepted -");
    assert_eq!(world.one("SELECT count(*) FROM tasks WHERE project = 1"), "2");
}

#[apply(secured_stores!)]
async fn refused_subscription_stops_no_other(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a").await;
    anna.snapshot(9).await;
    let unnamed = Subscription { parameters: [].into(), ..project(1) };
    let mut further = project(1);
    further.parameters.insert("more".to_owned(), "1".to_owned());
    let (unknown, mistyped) = (stream("team", "1", 3), stream("project", "1 OR 1=1", 3));
    anna.subscriptions = vec![unknown, mistyped, unnamed, further, project(3), project(1)];
    assert_eq!(anna.pull().await, ["comments/ca", "tasks/a"]);
    let refusals: Vec<_> = states(&mut anna).await.iter().map(refusal).collect();
    let invalid = Some(RefusalCode::InvalidParameter);
    let expected =
        [Some(RefusalCode::UnknownStream), invalid, invalid, invalid, Some(RefusalCode::Forbidden)];
    assert_eq!(refusals, [expected.as_slice(), &[None]].concat());
}

#[apply(secured_stores!)]
async fn lost_right_takes_the_rows_and_they_return_with_it(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a").await;
    anna.subscriptions = vec![project(1)];
    assert_eq!(anna.snapshot(9).await, ["comments/ca", "notes/n", "tasks/a"]);
    world.write("DELETE FROM member WHERE user_id = 'anna' AND project_id = 1");
    assert_eq!(anna.pull().await, ["-comments/ca", "-tasks/a"]);
    let edit = update("tasks", "a", &json!({"title": "x"}), &json!({"title": "y"}));
    assert_eq!(ended(&anna.push("m", json!([edit])).await.0), "conflict row.not_found");
    world.write("INSERT INTO member VALUES('anna', 1, 'viewer')");
    assert_eq!(anna.pull().await, ["comments/ca", "tasks/a"]);
}

/// The position does not advance while rows are loaded: changes meanwhile follow.
#[apply(secured_stores!)]
async fn lower_priority_is_complete_before_a_large_subscription(backend: Backend) {
    let world = world(backend);
    for number in 0..20 {
        world.write(&format!("INSERT INTO tasks(id, project) VALUES('b{number:02}', 2)"));
    }
    let mut anna = world.device("anna", "a").await;
    anna.snapshot(9).await;
    anna.subscriptions = vec![stream("project", "2", 3)];
    let mut rows = Rows::new();
    assert!(anna.pull_into(&mut rows, 5).await);
    assert_eq!(rows.len(), 5);
    world.write("UPDATE tasks SET title = 'late' WHERE id = 'b00'");
    anna.subscriptions.push(stream("project", "1", 0));
    let page = anna.pull_page(5).await;
    assert_eq!(named(&page), ["comments/ca", "tasks/a"]);
    let states = page.rejoin.unwrap().subscriptions;
    assert_eq!(states, [SubscriptionState::Loading, SubscriptionState::Current]);
    let (mut pages, mut received) = (0, 0);
    loop {
        let page = anna.pull_page(5).await;
        (pages, received) = (pages + 1, received + named(&page).len());
        if !page.has_more {
            break;
        }
    }
    assert!(received <= 18, "{received} rows in {pages} pages: the walk goes on where it was");
}

#[apply(secured_stores!)]
async fn subscription_during_a_snapshot_is_loaded_after_it(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a").await;
    anna.subscriptions = vec![project(2)];
    let first = anna.snapshot_page(None, 1).await;
    anna.subscriptions.push(project(1));
    let mut cursor = first.cursor;
    while let Some(after) = cursor {
        let page = anna.snapshot_page(Some(serde_json::to_value(after).unwrap()), 1).await;
        let answer = page.rejoin.unwrap();
        assert!(!answer.restart);
        anna.cursor = answer.pull_cursor;
        cursor = page.cursor;
    }
    assert_eq!(anna.pull().await, ["comments/ca", "tasks/a"]);
}

/// Generated code needs the streams; devices do not fetch the schema again for one.
#[apply(stores!)]
async fn schema_names_the_streams_outside_its_hashes(backend: Backend) {
    let mut world = World::with(backend, TABLES, projects);
    let streams =
        |manifest: &Manifest| serde_json::to_value(manifest).unwrap()["rejoin"]["streams"].take();
    let with = manifest(&world, true).await;
    let parameters = json!([{"name": "project", "type": "integer"}]);
    assert_eq!(streams(&with), json!([{"name": "project", "parameters": parameters}]));
    let printed: Manifest =
        serde_json::from_str(&world.server.manifest(None).unwrap().unwrap()).unwrap();
    assert_eq!(streams(&printed), streams(&with));
    assert_eq!(manifest(&world, false).await.rejoin, None);
    let welcome = world.device("anna", "a").await.register().await;
    let (_, _, plain) = world.send("GET", "/sync/schema", &[("X-User-ID", "anna")], "").await;

    world.config.streams.clear();
    world.restart();
    let without = manifest(&world, true).await;
    assert_eq!(streams(&without), json!(null));
    assert_eq!(
        (without.schema_version, &without.schema_hash, without.rules_hash()),
        (with.schema_version, &with.schema_hash, with.rules_hash())
    );
    let again = world.device("anna", "a").await.register().await;
    for member in ["schema_version", "schema_hash"] {
        assert_eq!(again[member], welcome[member], "{member}");
    }
    assert_eq!(again["rejoin"]["rules_hash"], welcome["rejoin"]["rules_hash"]);
    let (_, _, later) = world.send("GET", "/sync/schema", &[("X-User-ID", "anna")], "").await;
    let tables = |of: &Value| (of["tables"].clone(), of["rejoin"].clone());
    assert_eq!(tables(&plain), tables(&later));
}

/// The query compares in the types of its columns; an id that is no value of the type has no right.
#[tokio::test]
async fn ids_of_users_and_parameters_in_postgres_are_compared_in_their_own_types() {
    let tables = "
        CREATE TABLE member(user_id uuid, project_id uuid);
        CREATE TABLE tasks(id TEXT PRIMARY KEY, project uuid, updated_at TEXT);";
    let world = World::postgres(tables, |config| {
        let allow = "SELECT true FROM member WHERE user_id = :user AND project_id = :project";
        let stream = StreamConfig::new("project", "project:{project}", allow);
        let tasks = TableConfig::new("tasks").with_bucket("project", "project:");
        let stream = stream.with_parameter(Parameter::new("project", ParameterType::Text));
        config.with_table(tasks.with_push(PushPolicy::Bucket)).with_stream(stream)
    });
    let (user, id) =
        ("11111111-1111-4111-8111-111111111111", "2222aaaa-2222-4222-8222-222222222222");
    world.write(&format!(
        "INSERT INTO member VALUES('{user}', '{id}'); INSERT INTO tasks(id, project) VALUES('t', '{id}')"
    ));
    let mut device = world.device(user, "a").await;
    device.subscriptions = vec![stream("project", id, 3), stream("project", "no uuid", 3)];
    assert_eq!(device.snapshot(9).await, ["tasks/t"]);
    assert_eq!(refusal(&states(&mut device).await[1]), Some(RefusalCode::Forbidden));
    let mut swift = world.device(user, "c").await;
    swift.subscriptions = vec![stream("project", &id.to_uppercase(), 3)];
    assert_eq!(swift.snapshot(9).await, ["tasks/t"], "`uuidString` has capital letters");
    let mut stranger = world.device("no uuid", "b").await;
    stranger.subscriptions = vec![stream("project", id, 3)];
    assert!(stranger.snapshot(9).await.is_empty());
}

#[apply(secured_stores!)]
async fn query_that_fails_or_is_ambiguous_refuses_its_subscription(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        let allow = "SELECT role = 'editor' FROM member WHERE project_id >= :project";
        let mut config = projects(config);
        config.streams = vec![project_stream(allow)];
        config
    });
    world.write(
        "INSERT INTO member VALUES('x', 1, 'editor'), ('y', 2, 'editor');
         INSERT INTO tasks(id, project) VALUES('b', 2);
         INSERT INTO notes(id, owner) VALUES('n', 'anna')",
    );
    let mut anna = world.device("anna", "a").await;
    anna.subscriptions = vec![project(1), project(2)];
    assert_eq!(anna.snapshot(9).await, ["notes/n", "tasks/b"]);
    assert_eq!(refusal(&states(&mut anna).await[0]), Some(RefusalCode::QueryFailed));
    world.write("ALTER TABLE member RENAME TO members");
    world.write("INSERT INTO notes(id, owner) VALUES('n2', 'anna')");
    assert_eq!(anna.pull().await, ["-tasks/b", "notes/n2"]);
    assert_eq!(refusal(&states(&mut anna).await[1]), Some(RefusalCode::QueryFailed));
}

#[apply(stores!)]
async fn change_in_a_subscribed_bucket_wakes_the_device(backend: Backend) {
    let world = world(backend);
    let header = rejoin_protocol::wire::subscription::header(&[project(1)]).unwrap();
    let with = [("X-User-ID", "anna"), ("Rejoin-Subscriptions", header.as_str())];
    let mut listening = Listening::with(&world.server, &with).await;
    listening.next().await.unwrap();
    // Until its buckets are read, every change wakes a listener.
    world.write("UPDATE tasks SET title = 'y' WHERE id = 'a'");
    assert_eq!(listening.next().await.unwrap(), "changed {}");
    world.write("UPDATE tasks SET title = 'z' WHERE id = 'a'");
    assert_eq!(listening.next().await.unwrap(), "changed {}");
}

#[apply(secured_stores!)]
async fn digest_has_the_rows_of_subscriptions(backend: Backend) {
    let world = world(backend);
    let mut anna = world.device("anna", "a").await;
    let names = rejoin_protocol::wire::subscription::header(&[project(1)]).unwrap();
    anna.snapshot(9).await;
    let mut counts = Vec::new();
    for header in [None, Some(("Rejoin-Subscriptions", names.as_str()))] {
        let mut headers = vec![("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
        headers.extend(header);
        let path = format!(
            "/sync/digest?client_id=a&table=tasks&schema_version={}&schema_hash={}&slices=1",
            anna.version, anna.hash
        );
        let (status, _, answer) = world.send("GET", &path, &headers, "").await;
        assert_eq!(status, 200, "{answer}");
        let answer: DigestAnswer = serde_json::from_value(answer).unwrap();
        counts.push(answer.whole.count);
    }
    assert_eq!(counts, [0, 1]);
}

#[tokio::test]
async fn header_that_is_none_is_a_bad_request() {
    let world = world(Backend::Sqlite);
    for header in ["{}", "[", r#"[{"parameters":{}}]"#, &"x".repeat(7_000)] {
        let headers = [("X-User-ID", "anna"), ("Rejoin-Subscriptions", header)];
        let body = json!({"client_id": "a", "schema_version": 0, "schema_hash": ""});
        let (status, _, answer) =
            world.send("POST", "/sync/register", &headers, body.to_string()).await;
        assert_eq!(status, 400, "{answer}");
    }
}

#[apply(stores!)]
async fn stream_that_cannot_work_is_refused_at_the_start(backend: Backend) {
    let world = world(backend);
    let text = |name: &str| Parameter::new(name, ParameterType::Text);
    let of =
        |bucket: &str, allow: &str| StreamConfig::new("s", bucket, allow).with_parameter(text("p"));
    let good = "SELECT 1 FROM member WHERE user_id = :user AND project_id = :p";
    for (stream, place, why) in [
        (of("{p}", good), "bucket", "a name and a colon"),
        (of(":{p}", good), "bucket", "a name and a colon"),
        (of("user:{p}", good), "bucket", "reserved"),
        (of("room:{p}", good), "bucket", "no table"),
        (of("project:{q}", good), "bucket", "q is no parameter"),
        (of("project:{p}{p}", good), "bucket", "separate"),
        (of("project:all", good), "parameters", "once in bucket"),
        (of("project:{p}", good).with_parameter(text("p")), "parameters", "once in the list"),
        (of("project:{p}", "SELECT 1 WHERE :q"), "allow", ":q is no parameter"),
        (of("project:{p}", "DELETE FROM member"), "allow", ""),
        (of("project:{p}", "SELECT 1 FROM nowhere"), "allow", "nowhere"),
    ] {
        let config = Config { streams: vec![stream.clone()], ..world.config.clone() };
        let error = Server::open(config).unwrap_err().to_string();
        let place = format!("streams.s.{place}");
        assert!(error.contains(&place) && error.contains(why), "{stream:?}: {error}");
    }
    let two = projects(Config::new("x.db")).with_stream(of("project:{p}", good));
    assert!(two.problems()[0].to_string().contains("the stream project has the buckets"));
}

#[apply(stores!)]
async fn plan_of_the_query_shows_a_scan(backend: Backend) {
    let world = world(backend);
    let is_scan = |config: Config| {
        let plans = Server::open(config).unwrap().query_plans().unwrap();
        assert_eq!(plans[0].place, "streams.project.allow");
        assert!(!plans[0].steps.is_empty());
        plans[0].steps.iter().any(|step| step.is_scan)
    };
    assert!(!is_scan(world.config.clone()), "the key serves");
    let by_role = project_stream("SELECT 1 FROM member WHERE role = :user");
    assert!(is_scan(Config { streams: vec![by_role], ..world.config.clone() }));
}

/// Random subscriptions, rights and rows in small pages: in the end a device has exactly the rows of the
/// projects to which it subscribes with a right.
#[apply(stores!)]
async fn device_holds_exactly_the_rows_of_its_subscriptions(backend: Backend) {
    let world = world(backend);
    for seed in 0..cases(12) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut anna = world.device("anna", &format!("device {seed}")).await;
        anna.snapshot(9).await;
        let mut rows = Rows::from([("notes/n".to_owned(), None)]);
        for _ in 0..40 {
            let (number, priority) = (random.u32(1..4), random.u8(0..3));
            match random.u8(0..8) {
                0 | 1 => {
                    anna.subscriptions
                        .retain(|one| one.parameters["project"] != number.to_string());
                    anna.subscriptions.push(stream("project", &number.to_string(), priority));
                }
                2 => {
                    anna.subscriptions
                        .retain(|one| one.parameters["project"] != number.to_string());
                }
                3 => world.write(&format!(
                    "DELETE FROM member WHERE user_id = 'anna' AND project_id = {number}"
                )),
                4 => world.write(&format!(
                    "INSERT INTO member VALUES('anna', {number}, 'editor') ON CONFLICT DO NOTHING"
                )),
                5 => world.write(&format!(
                    "UPDATE tasks SET project = {number} WHERE id = '{}'",
                    ["a", "b", "c", "d0", "d1"][random.usize(0..5)]
                )),
                6 => world.write(&format!(
                    "INSERT INTO tasks(id, project) VALUES('d{}', {number}) ON CONFLICT DO NOTHING",
                    random.u8(0..6)
                )),
                _ => drop(anna.pull_into(&mut rows, random.i64(1..4)).await),
            }
        }
        while anna.pull_into(&mut rows, 2).await {}
        let mut fresh = world.device("anna", "fresh").await;
        fresh.subscriptions.clone_from(&anna.subscriptions);
        let expected: Vec<String> = fresh.snapshot_rows().await.into_keys().collect();
        let found: Vec<String> = rows.into_keys().collect();
        assert_eq!(found, expected, "seed {seed}");
    }
}
