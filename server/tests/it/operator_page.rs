//! The commands of `docs/operate.md` run as written, in order, in an empty folder, over each store.
//!
//! Command blocks have the language `sh`; `sh sqlite` and `sh postgres` apply to one store only.
//! They run in one bash, with port and database URL replaced. `rejoin-server serve` is started in
//! the background, and later commands run while it serves. The settings in `toml` blocks are tested
//! in `config`.

use std::net::TcpListener;
use std::process::Command;

use macro_rules_attribute::apply;
use rejoin_postgres::Database;

use crate::config::blocks;
use crate::world::Backend;

const PAGE: &str = include_str!("../../../docs/operate.md");

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
    let (folder, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let programs = rejoin_postgres::programs().unwrap_or_default();
    let path = format!("{}:{}", std::env::var("PATH").unwrap(), programs.display());
    let output = Command::new("bash")
        .args(["-c", &format!("{PROLOGUE}{commands}")])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("PROGRAM", env!("CARGO_BIN_EXE_rejoin-server"))
        .env("LISTENING", own.path().join("listening"))
        .env("REJOIN_LISTEN", address.to_string())
        .output()
        .unwrap();
    let (out, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{log}", output.status);
    assert!(out.contains(r#""ok": true"#), "readyz: {out}");
    assert!(out.contains("rejoin.toml and its database are good"), "check: {out}");
}
