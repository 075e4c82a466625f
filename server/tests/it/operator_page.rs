//! The commands of `docs/operate.md` and `docs/quickstart.md` run as written, in order, in an empty
//! folder, the operator's over each store.
//!
//! Command blocks have the language `sh`; `sh sqlite` and `sh postgres` apply to one store only.
//! They run in one bash, with port and database URL replaced. The programs of other packages are
//! those beside the server's: `cargo build --workspace` builds them. `rejoin-server serve` is started in
//! the background, and later commands run while it serves. The settings in `toml` blocks are tested
//! in `config`.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use macro_rules_attribute::apply;
use rejoin_postgres::Database;

use crate::config::blocks;
use crate::world::Backend;

const PAGE: &str = include_str!("../../../docs/operate.md");

const QUICK_START: &str = include_str!("../../../docs/quickstart.md");

const PAGE_URL: &str = "postgres://rejoin:password@db.internal:5432/app";

/// Runs the program under test. `serve` returns when it listens, and stops a running server.
const PROLOGUE: &str = r#"
set -euo pipefail
server=
stop_server() { [ -z "$server" ] || { kill -TERM "$server"; wait "$server"; server=; }; }
trap stop_server EXIT
rejoin-server() {
  [ "$1" = serve ] || { "$PROGRAM" "$@"; return; }
  stop_server
  [ -p "$LISTENING" ] || mkfifo "$LISTENING"
  "$PROGRAM" "$@" >"$LISTENING" &
  server=$!
  read -r line <"$LISTENING"
  case $line in "listening on "*) ;; *) echo "serve: $line" >&2; exit 1 ;; esac
}
set -x
"#;

/// The page's commands for one store, as one script.
fn commands(backend: Backend) -> String {
    let own = if backend == Backend::Sqlite { "sh sqlite" } else { "sh postgres" };
    let blocks = blocks(PAGE).into_iter().filter(|(fence, _)| *fence == "sh" || *fence == own);
    blocks.map(|(_, commands)| commands).collect()
}

#[apply(stores!)]
fn commands_of_the_page_succeed_in_an_empty_folder(backend: Backend) {
    let database = (backend != Backend::Sqlite).then(Database::new);
    let url = database.as_ref().map_or(PAGE_URL, |database| database.url.as_str());
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let commands = commands(backend);
    assert!(commands.contains("localhost:7878") && commands.contains("rejoin-server serve"));
    assert_eq!(commands.contains(PAGE_URL), database.is_some());
    let commands = commands
        .replace(PAGE_URL, url)
        .replace("localhost:7878", &format!("localhost:{}", address.port()));
    let out = run(&commands, &address.to_string());
    assert!(out.contains(r#""ok": true"#), "readyz: {out}");
    assert!(out.contains("rejoin.toml and its database are good"), "check: {out}");
}

#[test]
fn commands_of_the_quick_start_succeed_in_an_empty_folder() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let blocks = blocks(QUICK_START).into_iter().filter(|(fence, _)| *fence == "sh");
    let commands: String = blocks.map(|(_, commands)| commands).collect();
    let commands = commands.replace("127.0.0.1:7878", &address);
    let lists = "for file in phone tablet; do TODO_FILE=$file.db todo sync; done";
    let out = run(&format!("{commands}echo AT THE END\n{lists}\n"), &address);
    let (before, end) = out.split_once("AT THE END").unwrap();
    for line in [
        "rejoin.toml and its database are good",
        "offline; the change is queued",
        " 2 [ ] call Ben  (pending)",
        "not accepted: the column has another value than the one that was edited",
        "not accepted: CHECK constraint failed: length(title) <= 200",
    ] {
        assert!(before.contains(line), "{line}: {before}");
    }
    let list = " 1 [x] buy oat milk\n 2 [ ] call Ben\n";
    assert_eq!(end.matches(list).count(), 2, "{end}");
    assert!(!end.contains("not accepted"), "{end}");
}

/// Runs the commands in an empty folder, and returns what they print.
fn run(commands: &str, listen: &str) -> String {
    let (folder, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let programs = rejoin_postgres::programs().unwrap_or_default();
    let server = Path::new(env!("CARGO_BIN_EXE_rejoin-server"));
    let beside = server.parent().unwrap().display();
    let path = format!("{beside}:{}:{}", std::env::var("PATH").unwrap(), programs.display());
    let output = Command::new("bash")
        .args(["-c", &format!("{PROLOGUE}{commands}")])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("PROGRAM", server)
        .env("LISTENING", own.path().join("listening"))
        .env("REJOIN_LISTEN", listen)
        .output()
        .unwrap();
    let (out, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{log}", output.status);
    out.into_owned()
}
