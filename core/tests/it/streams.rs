//! Tests of subscriptions to streams, with a server in this process.

mod server;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rejoin_core::host::TestHost;
use rejoin_core::transport::{HttpRequest, MemoryTransport};
use rejoin_core::{
    Client, Config, Error, InputFault, Manifest, RefusalCode, Result, Services, StreamStatus,
    StreamSubscription, SyncFault,
};
use rejoin_protocol::SUBSCRIPTIONS_HEADER;
use rejoin_protocol::manifest::{StreamManifest, StreamParameter};
use rejoin_protocol::wire::subscription::Subscription;
use tempfile::TempDir;

use crate::world::{PATIENCE, next, within};
use server::{StreamServer, manifest};

const DAY: Duration = Duration::from_hours(24);

/// A device of a server, with a manual clock.
struct Device {
    client: Client,
    host: Arc<TestHost>,
    transport: MemoryTransport,
    folder: TempDir,
}

impl Device {
    fn of(server: &StreamServer) -> Self {
        let (host, transport) = (Arc::new(TestHost::new(1)), server.transport());
        let folder = tempfile::tempdir().unwrap();
        let client = opened(&folder, &host, &transport);
        Self { client, host, transport, folder }
    }

    /// Ends the process: handles that are not dropped are lost.
    fn restarted(self, held: Vec<StreamSubscription>) -> Self {
        within(self.client.shutdown()).unwrap();
        drop(held);
        let client = opened(&self.folder, &self.host, &self.transport);
        Self { client, ..self }
    }

    fn subscribe(&self, project: &str) -> StreamSubscription {
        self.client.sync().subscribe("project", [("id", project)]).wait().unwrap()
    }

    fn sync(&self) {
        within(self.client.sync().run(Some(PATIENCE))).unwrap();
    }

    fn tasks(&self) -> String {
        let sql = "SELECT coalesce(group_concat(id, ' ' ORDER BY id), '') FROM task";
        within(self.client.query_one(sql, ())).unwrap().unwrap().get(0).unwrap()
    }

    fn write(&self, sql: &str) {
        within(self.client.execute(sql, ())).unwrap();
    }
}

fn opened(folder: &TempDir, host: &Arc<TestHost>, transport: &MemoryTransport) -> Client {
    bundling(manifest(), folder, host, transport)
}

/// Opens the file with the schema that the app bundles.
fn bundling(
    schema: Manifest,
    folder: &TempDir,
    host: &Arc<TestHost>,
    transport: &MemoryTransport,
) -> Client {
    let config = Config::new(folder.path().join("app.db")).schema(schema);
    let services = Services {
        host: Some(Arc::clone(host) as _),
        transport: Some(Arc::new(transport.clone())),
        ..Services::default()
    };
    within(Client::open_with(config, services)).unwrap()
}

fn loaded(subscription: &StreamSubscription) -> Result<()> {
    within(subscription.first_sync(Some(PATIENCE)))
}

fn ids(subscriptions: &[Subscription]) -> Vec<&str> {
    subscriptions.iter().map(|one| one.parameters["id"].as_str()).collect()
}

#[test]
fn offline_subscription_brings_rows_when_online() {
    let server = StreamServer::with("p1", &["a", "b"]);
    let device = Device::of(&server);
    device.transport.set_offline(true);
    let project = device.subscribe("p1");
    assert_eq!((project.stream(), project.status()), ("project", StreamStatus::Waiting));
    within(device.client.sync().run(Some(PATIENCE))).unwrap_err();
    assert_eq!(project.status(), StreamStatus::Waiting);
    device.transport.set_offline(false);
    loaded(&project).unwrap();
    assert_eq!((device.tasks().as_str(), project.status()), ("a b", StreamStatus::Current));
    loaded(&project).unwrap();
}

/// The schema names the streams for generated code. Devices compare schemas by their hashes, without them.
#[test]
fn streams_of_the_schema_are_no_other_schema() {
    let server = StreamServer::with("p1", &["a"]);
    let with_stream = |name: &str| {
        let mut schema = manifest();
        let parameters = vec![StreamParameter { name: "id".to_owned(), kind: "uuid".to_owned() }];
        let streams = vec![StreamManifest { name: name.to_owned(), parameters }];
        schema.rejoin.as_mut().unwrap().streams = streams;
        schema
    };
    let (folder, host) = (tempfile::tempdir().unwrap(), Arc::new(TestHost::new(1)));
    let transport = server.transport();
    for (at, schema) in
        [with_stream("project"), with_stream("other"), manifest()].iter().enumerate()
    {
        let client = bundling(schema.clone(), &folder, &host, &transport);
        let _held = client.sync().subscribe("project", [("id", "p1")]).wait().unwrap();
        server.take("");
        within(client.sync().run(Some(PATIENCE))).unwrap();
        let received = server.inside().received.clone();
        let count = |path: &str| received.iter().filter(|(at, _)| at == path).count();
        let snapshots = usize::from(at == 0);
        assert_eq!((count("/sync/schema"), count("/sync/snapshot")), (0, snapshots), "{schema:?}");
        let rows = within(client.query("SELECT id FROM task", ())).unwrap();
        assert_eq!(rows.iter().count(), 1, "{schema:?}");
        within(client.shutdown()).unwrap();
    }
}

#[test]
fn subscription_starts_a_pass_while_syncing_runs() {
    let server = StreamServer::with("p1", &["a"]);
    let device = Device::of(&server);
    device.sync();
    let (sender, receiver) = mpsc::channel();
    let _following = device.client.sync().on_subscriptions(move |all| drop(sender.send(all)));
    assert_eq!(next(&receiver), []);
    let project = device.subscribe("p1");
    while next(&receiver).first().is_none_or(|one| one.status != StreamStatus::Current) {}
    assert_eq!(device.tasks(), "a");
    within(project.unsubscribe()).unwrap();
    while !next(&receiver).is_empty() {}
    device.sync();
    assert_eq!(device.tasks(), "");
}

#[test]
fn subscription_survives_a_restart_and_expires() {
    let server = StreamServer::with("p1", &["a"]);
    let device = Device::of(&server);
    let project = device.subscribe("p1");
    loaded(&project).unwrap();
    let device = device.restarted(vec![project]);
    let stored = device.client.sync().subscriptions();
    assert_eq!((stored.len(), &stored[0].status), (1, &StreamStatus::Current));
    assert_eq!((stored[0].priority, stored[0].ttl), (3, DAY));
    assert!(stored[0].ends_ms.is_some());
    device.host.advance(Duration::from_hours(22));
    device.sync();
    assert_eq!(device.tasks(), "a");
    device.host.advance(Duration::from_hours(3));
    assert_eq!(device.client.sync().subscriptions(), [], "it has expired");
    assert_eq!(device.tasks(), "a", "offline the rows stay");
    device.sync();
    assert_eq!(device.tasks(), "");
}

#[test]
fn held_subscription_does_not_expire() {
    let server = StreamServer::with("p1", &["a"]);
    let device = Device::of(&server);
    let project = device.subscribe("p1");
    let second = device.subscribe("p1");
    loaded(&project).unwrap();
    for _ in 0..3 {
        device.host.advance(2 * DAY);
        device.sync();
        assert_eq!(device.tasks(), "a");
    }
    assert_eq!(device.client.sync().subscriptions()[0].ends_ms, None);
    drop(project);
    device.host.advance(2 * DAY);
    device.sync();
    assert_eq!(device.tasks(), "a", "the second one holds it");
    drop(second);
    device.host.advance(DAY / 2);
    device.sync();
    assert_eq!(device.tasks(), "a", "its ttl runs");
    device.host.advance(DAY);
    device.sync();
    assert_eq!(device.tasks(), "");
}

#[test]
fn refused_subscription_returns_the_reason() {
    let server = StreamServer::with("p1", &["a"]);
    server.inside().forbidden.insert("p1".to_owned());
    let device = Device::of(&server);
    let (project, other) =
        (device.subscribe("p1"), device.client.sync().subscribe("folder", ()).wait().unwrap());
    let refusal = |of: &StreamSubscription| match loaded(of) {
        Err(Error::Sync(SyncFault::SubscriptionRefused { stream, code, message })) => {
            assert_eq!(of.status(), StreamStatus::Refused { code, message: message.clone() });
            (stream, code, message)
        }
        other => panic!("{other:?}"),
    };
    let reason = "the user may not read it".to_owned();
    assert_eq!(refusal(&project), ("project".to_owned(), RefusalCode::Forbidden, reason));
    assert_eq!(refusal(&other).1, RefusalCode::UnknownStream);
    server.inside().forbidden.clear();
    device.sync();
    loaded(&project).unwrap();
    assert_eq!(device.tasks(), "a");
}

#[test]
fn server_without_streams_refuses_and_gets_no_header() {
    let server = StreamServer::with("p1", &["a"]);
    server.inside().is_without_streams = true;
    let device = Device::of(&server);
    let project = device.subscribe("p1");
    let refused = loaded(&project).unwrap_err();
    let refused = matches!(&refused, Error::Sync(SyncFault::SubscriptionRefused { message, .. })
        if message.contains("[[streams]]"));
    assert!(refused);
    assert!(server.inside().received.iter().all(|(_, subscriptions)| subscriptions.is_empty()));
    // An update of the server brings the rows.
    server.inside().is_without_streams = false;
    let device = device.restarted(vec![project]);
    let project = device.subscribe("p1");
    loaded(&project).unwrap();
    assert_eq!(device.tasks(), "a");
}

#[test]
fn unsubscribe_sends_waiting_edits_first() {
    let server = StreamServer::with("p1", &["a", "b"]);
    let device = Device::of(&server);
    let project = device.subscribe("p1");
    loaded(&project).unwrap();
    device.transport.set_offline(true);
    device.write("UPDATE task SET title = 'new' WHERE id = 'a'");
    within(project.unsubscribe()).unwrap();
    assert_eq!(device.client.sync().subscriptions(), []);
    let device = device.restarted(Vec::new());
    assert_eq!(within(device.client.queue().pending()).unwrap().len(), 1);
    server.take("");
    device.transport.set_offline(false);
    device.sync();
    assert_eq!((device.tasks().as_str(), &server.inside().pushed[..]), ("", &["a".to_owned()][..]));
    assert_eq!(within(device.client.queue().all()).unwrap(), []);
    let received = std::mem::take(&mut server.inside().received).into_iter();
    let of = |path: &str, all: &[(String, Vec<Subscription>)]| -> Vec<usize> {
        all.iter().filter(|(at, _)| at == path).map(|(_, asked)| asked.len()).collect()
    };
    let received: Vec<_> = received.collect();
    assert_eq!(of("/sync/push", &received), [1], "the edit needs the right of the subscription");
    assert!(of("/sync/pull", &received).into_iter().all(|count| count == 0));
}

#[test]
fn unsubscribe_leaves_what_another_handle_holds() {
    let server = StreamServer::with("p1", &["a"]);
    let device = Device::of(&server);
    let (first, second) = (device.subscribe("p1"), device.subscribe("p1"));
    loaded(&first).unwrap();
    within(first.unsubscribe()).unwrap();
    device.sync();
    assert_eq!((device.tasks().as_str(), second.status()), ("a", StreamStatus::Current));
    within(second.unsubscribe()).unwrap();
    device.sync();
    assert_eq!(device.tasks(), "");
}

#[test]
fn requests_name_subscriptions_by_priority() {
    let server = StreamServer::with("p1", &["a"]);
    server.add("p2", &["b"]);
    let device = Device::of(&server);
    device.sync();
    server.inside().more = 1;
    server.take("");
    let _late =
        device.client.sync().subscribe("project", [("id", "p1")]).priority(9).wait().unwrap();
    let soon = device.client.sync().subscribe("project", [("id", "p2")]).priority(1);
    let soon = within(soon.into_future()).unwrap();
    loaded(&soon).unwrap();
    device.sync();
    let pulls = server.take("/sync/pull");
    assert_eq!(ids(pulls.last().unwrap()), ["p2", "p1"]);
    assert_eq!(device.tasks(), "a b");
    device.write("INSERT INTO task (id) VALUES ('c')");
    device.sync();
    assert_eq!(ids(&server.take("/sync/push")[0]), ["p2", "p1"]);
}

#[test]
fn event_stream_is_opened_again_with_new_subscriptions() {
    let server = StreamServer::with("p1", &["a"]);
    server.inside().has_events = true;
    let device = Device::of(&server);
    device.sync();
    let project = device.subscribe("p1");
    loaded(&project).unwrap();
    let begun = Instant::now();
    let is_of_events = |request: &HttpRequest| {
        let header = request.header(SUBSCRIPTIONS_HEADER).unwrap_or_default();
        request.path.starts_with("/sync/events") && header.contains("p1")
    };
    while !device.transport.take_seen().iter().any(is_of_events) {
        assert!(begun.elapsed() < PATIENCE, "no stream with the subscription");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn snapshot_requests_have_the_subscriptions() {
    let server = StreamServer::with("p1", &["a"]);
    let device = Device::of(&server);
    let _project = device.subscribe("p1");
    device.sync();
    assert_eq!(ids(&server.take("/sync/snapshot")[0]), ["p1"]);
}

#[test]
fn next_user_has_no_subscriptions_of_the_last_one() {
    let server = StreamServer::with("p1", &["a"]);
    let device = Device::of(&server);
    let project = device.subscribe("p1");
    loaded(&project).unwrap();
    within(device.client.storage().clear_for_next_user(Vec::new())).unwrap();
    assert_eq!(device.client.sync().subscriptions(), []);
    assert_eq!(project.status(), StreamStatus::Waiting);
    let ended = loaded(&project);
    assert!(matches!(ended, Err(Error::InvalidInput(InputFault::Refused { .. }))), "{ended:?}");
    server.take("");
    device.sync();
    let pulls = server.take("/sync/pull");
    assert!(!pulls.is_empty() && pulls.iter().all(Vec::is_empty), "{pulls:?}");
    assert_eq!(device.tasks(), "");
}

#[test]
fn subscriptions_are_limited_by_the_header() {
    let device = Device::of(&StreamServer::default());
    let mut held = Vec::new();
    let refused = loop {
        let id = format!("{:0100}", held.len());
        match device.client.sync().subscribe("project", [("id", id)]).wait() {
            Ok(one) => held.push(one),
            Err(error) => break error,
        }
    };
    let is_limit = matches!(refused, Error::InvalidInput(InputFault::TooManySubscriptions { .. }));
    assert!(is_limit, "{refused}");
    assert!(refused.to_string().contains("end some"), "{refused}");
    within(held.pop().unwrap().unsubscribe()).unwrap();
    drop(device.subscribe("p1"));
}

#[test]
fn handle_of_a_closed_client_returns_closed() {
    let device = Device::of(&StreamServer::default());
    let (one, other) = (device.subscribe("p1"), device.subscribe("p2"));
    within(device.client.shutdown()).unwrap();
    drop(device);
    assert!(matches!(loaded(&one), Err(Error::Closed)));
    assert!(matches!(within(other.unsubscribe()), Err(Error::Closed)));
}
