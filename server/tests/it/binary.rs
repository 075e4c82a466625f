//! The binary: init, check, serve on a free port, shutdown.

use macro_rules_attribute::apply;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use crate::ending::{Running, answer, events, hears_the_end};
use crate::world::{Backend, World, place};
use rejoin_postgres::Database;

pub(crate) fn rejoin(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin-server"));
    command.args(arguments).current_dir(folder);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    rejoin(folder, arguments).output().unwrap()
}

#[apply(stores!)]
fn init_check_serve_and_shut_down(backend: Backend) {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(folder.path(), &["init"]).status.success());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let file = std::fs::metadata(folder.path().join("rejoin.toml")).unwrap();
        assert_eq!(file.permissions().mode() & 0o077, 0, "it may get a secret");
    }
    let again = run(folder.path(), &["init"]);
    assert!(!again.status.success(), "an existing file is left alone");
    let database = (backend != Backend::Sqlite).then(Database::new);
    if database.is_none() {
        std::fs::File::create(folder.path().join("app.db")).unwrap();
    }
    if let Some(database) = &database {
        // The same configuration with a PostgreSQL store instead of a file.
        let toml = folder.path().join("rejoin.toml");
        let text = std::fs::read_to_string(&toml).unwrap();
        let line = text.lines().find(|line| line.starts_with("database = ")).unwrap();
        let store = format!("store = \"{}\"", database.url);
        std::fs::write(&toml, text.replace(line, &store)).unwrap();
    }
    let check = run(folder.path(), &["check"]);
    let words = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(
        !check.status.success() && words.contains("tasks: the database has no such table"),
        "{words}"
    );
    let tasks = "CREATE TABLE tasks(id TEXT PRIMARY KEY, owner_id TEXT, updated_at TEXT)";
    match &database {
        Some(database) => database.session().run(tasks),
        None => {
            Connection::open(folder.path().join("app.db")).unwrap().execute_batch(tasks).unwrap();
        }
    }
    assert!(run(folder.path(), &["check"]).status.success());
    let mut server = Running::serve(folder.path(), &[]);
    assert_eq!(answer(server.send("GET /healthz", "")).1["status"], "ok");
    assert!(answer(server.send("GET /sync/schema", "")).1.to_string().contains("\"tasks\""));
    let address = server.address.clone();
    let ready =
        || rejoin(folder.path(), &["ready"]).env("REJOIN_LISTEN", &address).output().unwrap();
    assert!(ready().status.success(), "{:?}", ready());
    // An open event stream does not delay the shutdown.
    let mut events = events(&server);
    server.terminate();
    hears_the_end(&mut events);
    assert!(server.ended(Duration::from_secs(20)).success());
    let words = String::from_utf8_lossy(&ready().stderr).into_owned();
    assert!(!ready().status.success() && words.contains("no server on"), "{words}");
}

#[test]
fn invalid_config_is_reported_with_all_lines() {
    let folder = tempfile::tempdir().unwrap();
    let text = "listen = \"0.0.0.0:1\"\ndatabase = \"a.db\"\n[auth]\nheader = \"X-User-ID\"\n[[tables]]\nname = \"t\"\npush = \"owner_only\"\n";
    std::fs::write(folder.path().join("rejoin.toml"), text).unwrap();
    let output = run(folder.path(), &["serve"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(words.contains("line 1: listen: the user header is trusted"), "{words}");
    assert!(words.contains("line 7: tables.t.push: "), "{words}");
    assert!(!folder.path().join("a.db").exists(), "nothing was made");
}

#[apply(stores!)]
async fn commands_list_devices_and_schemas(world: World) {
    let mut anna = world.device("anna", "a\t1").await;
    anna.snapshot(10).await;
    anna.accept("m1", json!([place("p1", "x")])).await;
    anna.pull().await;
    let place = match &world.database {
        Some(database) => format!("store = \"{}\"", database.url),
        None => String::from("database = \"app.db\""),
    };
    let text = "auth = { header = \"X-User-ID\" }\n\
        [[tables]]\nname = \"places\"\nowner_column = \"owner_id\"\n\
        [[tables]]\nname = \"visits\"\nparent_table = \"places\"\nparent_fk_col = \"place_id\"\n\
        [[tables]]\nname = \"tags\"\nparent_table = \"visits\"\nparent_fk_col = \"visit_id\"\n\
        [[tables]]\nname = \"countries\"\nallow_global_read = true\n[[tables]]\nname = \"secrets\"\n";
    std::fs::write(world.folder.path().join("rejoin.toml"), format!("{place}\n{text}")).unwrap();
    let output_of = |arguments: &[&str]| {
        let output = run(world.folder.path(), arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed: serde_json::Value =
        serde_json::from_str(&output_of(&["clients", "--json"])).unwrap();
    assert_eq!((&listed["user"], &listed["client_id"]), (&json!("anna"), &json!("a\t1")));
    assert!(listed["behind"].as_i64().unwrap() <= 1 && listed["position"].is_i64(), "{listed}");
    let words = output_of(&["clients"]);
    let lines: Vec<&str> = words.lines().collect();
    assert!(lines.len() == 2 && lines[1].starts_with("anna\ta\\t1\t"), "{words}");
    let history = output_of(&["schema", "--history"]);
    let first: Vec<&str> = history.lines().next().unwrap().split('\t').collect();
    assert_eq!((first[0], first[1]), (anna.version.to_string().as_str(), anna.hash.as_str()));
    let manifest: serde_json::Value = serde_json::from_str(&output_of(&["schema"])).unwrap();
    assert_eq!(manifest["schema_hash"], json!(anna.hash));
    assert_eq!(output_of(&["schema", "--version", first[0]]), output_of(&["schema"]));
    assert!(!run(world.folder.path(), &["schema", "--version", "99"]).status.success());
}

#[test]
fn command_imports_a_log_and_names_a_refused_line() {
    let folder = tempfile::tempdir().unwrap();
    let database = Connection::open(folder.path().join("app.db")).unwrap();
    database
        .execute_batch("CREATE TABLE seats(id TEXT PRIMARY KEY, hall TEXT, note TEXT)")
        .unwrap();
    let text = "database = \"app.db\"\n[auth]\nheader = \"X-User-ID\"\n[[tables]]\nname = \"seats\"\n\
        sync = \"log\"\nbucket_by_column = \"hall\"\n";
    std::fs::write(folder.path().join("rejoin.toml"), text).unwrap();
    let change = json!({"table": "seats", "id": "s1", "audience": "user:h1", "operation": "INSERT", "forward": {"note": "a"}});
    let action = json!({"action": {"id": "a1", "client_id": "c", "millis": 1, "counter": 1, "rows": [change]}});
    let import = |second: &str| {
        std::fs::write(folder.path().join("log.jsonl"), format!("{action}\n{second}\n")).unwrap();
        let output = run(folder.path(), &["log", "import", "log.jsonl"]);
        let [out, err] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.success(), out + &err)
    };
    let (done, words) = import(&action.to_string().replace("seats", "places").replace("a1", "a2"));
    assert!(
        !done && words.contains("line 2: the table places is not a table of the log"),
        "{words}"
    );
    let (done, words) = import("");
    assert!(done && words.contains("imported 1 entries and set 0 rows"), "{words}");
    let note = "SELECT hall || ' ' || note FROM seats";
    assert_eq!(database.query_row(note, [], |row| row.get::<_, String>(0)).unwrap(), "h1 a");
}

#[test]
fn missing_database_file_is_named_and_not_created() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(folder.path(), &["init"]).status.success());
    let commands: [&[&str]; 6] = [
        &["check"],
        &["clients"],
        &["schema", "--history"],
        &["compact"],
        &["replay"],
        &["serve", "--listen", "127.0.0.1:0"],
    ];
    for arguments in commands {
        let mut command = rejoin(folder.path(), arguments);
        let output = command.env("REJOIN_DATABASE", "data/mistyped.db").output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(words.contains("there is no database file data/mistyped.db: correct"), "{words}");
        let mut command = rejoin(folder.path(), arguments);
        assert!(!command.env("REJOIN_DATABASE", "mistyped.db").output().unwrap().status.success());
    }
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["rejoin.toml"]);
}

#[test]
fn taken_port_is_named_with_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = "CREATE TABLE tasks(id TEXT PRIMARY KEY, owner_id TEXT, updated_at TEXT)";
    Connection::open(folder.path().join("app.db")).unwrap().execute_batch(tasks).unwrap();
    assert!(run(folder.path(), &["init"]).status.success());
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let output = rejoin(folder.path(), &["serve"]).env("REJOIN_LISTEN", &taken).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(words.contains(&format!("cannot listen on {taken}")), "{words}");
}
