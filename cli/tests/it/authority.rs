//! The authority as a program: appointed, killed, and started twice.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rejoin_core::{Actions, Client, Config, Services};
use rejoin_server::{Server, TableConfig};
use serde_json::json;
use tempfile::TempDir;

const COUNT: &str = r#"{"name": "count", "parameters": [{"name": "id", "type": "text"}],
    "statements": ["UPDATE seats SET number = number + 1 WHERE id = :id"]}"#;

/// A server with a table of the log.
struct World {
    folder: TempDir,
    url: String,
    server: Server,
    _runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.db");
        #[allow(clippy::disallowed_methods)] // The server's file is created without the engine.
        let database = rusqlite::Connection::open(&file).unwrap();
        let sql = "CREATE TABLE seats(id TEXT PRIMARY KEY, event TEXT, number BIGINT)";
        database.execute_batch(sql).unwrap();
        drop(database);
        std::fs::write(folder.path().join("count.json"), COUNT).unwrap();
        let config = rejoin_server::Config::new(&file)
            .with_table(TableConfig::log("seats", "event", "event:"));
        let server = Server::open(config).unwrap();
        server.grant("ana", "event:e1").unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = server.clone();
        drop(runtime.spawn(async move { shared.serve(listener).await }));
        Self { folder, url, server, _runtime: runtime }
    }

    fn device(&self, name: &str) -> Client {
        let mut config = Config::new(self.folder.path().join(name)).server(self.url.clone());
        config.user_id = Some(String::from("ana"));
        let actions = Some(Arc::new(Actions::new().declare(COUNT)));
        let services = Services { actions, ..Services::default() };
        Client::open_with(config, services).wait().unwrap()
    }

    fn command(&self, file: &str) -> Command {
        self.command_every("1", file)
    }

    fn command_every(&self, seconds: &str, file: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
        let of = |name: &str| self.folder.path().join(name);
        command.args([
            "authority",
            "--user",
            "operator",
            "--every",
            seconds,
            "--server",
            &self.url,
        ]);
        command.arg("--file").arg(of(file)).arg("--action").arg(of("count.json"));
        command
    }

    /// Starts it; returns its id, printed after its first sync.
    fn start(&self, file: &str) -> (Running, String) {
        started(self.command(file))
    }

    /// The number at the server.
    fn number(&self) -> i64 {
        let viewer = self.device("viewer.db");
        sync(&viewer);
        let number = viewer.query_scalar("SELECT number FROM seats", ()).wait().unwrap();
        viewer.shutdown().wait().unwrap();
        number.unwrap()
    }

    #[track_caller]
    fn reaches(&self, expected: i64) {
        for _ in 0..300 {
            if self.number() == expected {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{} and not {expected}", self.number());
    }
}

fn started(mut command: Command) -> (Running, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut id = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut id).unwrap();
    (Running(child), id.trim().to_owned())
}

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Syncs once, and then no more.
fn sync(client: &Client) {
    client.sync().run(Some(Duration::from_secs(30))).wait().unwrap();
    client.stop().wait().unwrap();
}

fn count(client: &Client) {
    client.perform("count", json!({"id": "s1"})).wait().unwrap();
}

/// Two counts of the same number, made offline; the later one is sent first, and its device is gone.
fn count_apart(world: &World, tablet: &Client, name: &str) {
    let phone = world.device(name);
    sync(&phone);
    sync(tablet);
    count(tablet);
    std::thread::sleep(Duration::from_millis(5));
    count(&phone);
    sync(&phone);
    phone.shutdown().wait().unwrap();
    sync(tablet);
}

/// A server with one seat, and the device that made it.
fn one_seat() -> (World, Client) {
    let world = World::new();
    let tablet = world.device("tablet.db");
    sync(&tablet);
    tablet.execute("INSERT INTO seats VALUES ('s1', 'e1', 0)", ()).wait().unwrap();
    sync(&tablet);
    (world, tablet)
}

#[test]
fn authority_corrects_after_it_was_appointed_and_after_it_was_killed() {
    let (world, tablet) = one_seat();
    let (first, id) = world.start("authority.db");
    count_apart(&world, &tablet, "phone1.db");
    assert_eq!(world.number(), 1, "it is not appointed");
    world.server.appoint_authority(Some(&id)).unwrap();
    world.reaches(2);
    drop(first);
    count_apart(&world, &tablet, "phone2.db");
    assert_eq!(world.number(), 3, "it is killed");
    let (_again, same) = world.start("authority.db");
    assert_eq!(same, id);
    world.reaches(4);
}

/// Two programs run all the time. One of them is appointed, and is killed at any moment of its
/// corrections.
#[test]
fn two_authorities_that_are_killed_and_replaced_count_each_entry_once() {
    let (world, tablet) = one_seat();
    let files = ["first.db", "second.db"];
    let mut running = files.map(|file| world.start(file));
    for (round, moment) in [0, 40, 5, 80, 20, 10, 150, 1].into_iter().enumerate() {
        let at = usize::from(round % 3 != 0);
        world.server.appoint_authority(Some(&running[at].1)).unwrap();
        count_apart(&world, &tablet, &format!("phone{round}.db"));
        std::thread::sleep(Duration::from_millis(moment));
        let id = running[at].1.clone();
        let _ = running[at].0.0.kill();
        let _ = running[at].0.0.wait();
        running[at] = world.start(files[at]);
        assert_eq!(running[at].1, id, "round {round}");
    }
    world.reaches(16);
    std::thread::sleep(Duration::from_millis(1_500)); // Longer than the time between two syncs.
    assert_eq!(world.number(), 16, "it stays");
}

/// Its user has no bucket, and the next sync by the clock is an hour away.
#[test]
fn change_in_any_bucket_wakes_the_authority() {
    let (world, tablet) = one_seat();
    let output = world.command("authority.db").arg("--once").output().unwrap();
    let id = String::from_utf8(output.stdout).unwrap();
    world.server.appoint_authority(Some(id.trim())).unwrap();
    let (_running, _) = started(world.command_every("3600", "authority.db"));
    count_apart(&world, &tablet, "phone.db");
    world.reaches(2);
}

#[test]
fn second_process_on_the_same_file_is_refused() {
    let world = World::new();
    let (_first, _) = world.start("authority.db");
    let output = world.command("authority.db").arg("--once").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("is locked"), "{message}");
    let output = world.command("other.db").arg("--once").output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout.len(), 37, "its id");
}

#[test]
fn missing_or_empty_token_is_an_error_that_names_the_file() {
    let world = World::new();
    let token = world.folder.path().join("token.txt");
    for problem in ["No such file", "is empty"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
        command.args(["authority", "--once", "--server", &world.url, "--token"]).arg(&token);
        command.arg("--file").arg(world.folder.path().join("authority.db"));
        command.arg("--action").arg(world.folder.path().join("count.json"));
        let output = command.output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        let is_named = message.contains("token.txt") && message.contains(problem);
        assert!(!output.status.success() && is_named, "{message}");
        std::fs::write(&token, "\n").unwrap();
    }
}
