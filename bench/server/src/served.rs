//! The server: the real binary next to this program, with a configuration file.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::cluster::Session;

/// The tables of every run: tasks with an owner, also in the bucket of a team, and notes below
/// them.
const TABLES: &str = "
    CREATE TABLE tasks(id text PRIMARY KEY, owner_id text NOT NULL, team text, title text NOT NULL, body text, rank bigint,
      done boolean NOT NULL DEFAULT false, updated_at timestamptz, deleted_at timestamptz);
    CREATE TABLE notes(id text PRIMARY KEY, task_id text NOT NULL REFERENCES tasks(id), body text, updated_at timestamptz,
      deleted_at timestamptz);
";

const CONFIGURATION: &str = "
[auth]
header = \"X-User-ID\"

[[tables]]
name = \"tasks\"
owner_column = \"owner_id\"
bucket_by_column = \"team\"
bucket_prefix = \"team:\"

[[tables]]
name = \"notes\"
parent_table = \"tasks\"
parent_fk_col = \"task_id\"
";

/// The tasks, in SQLite.
const SQLITE_TABLES: &str = "
    CREATE TABLE tasks(id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, title TEXT NOT NULL, body TEXT, rank INTEGER,
      done BOOLEAN NOT NULL DEFAULT false, updated_at TEXT, deleted_at TEXT);
";

const SQLITE_CONFIGURATION: &str = "
[auth]
header = \"X-User-ID\"

[[tables]]
name = \"tasks\"
owner_column = \"owner_id\"
";

const LOG_CONFIGURATION: &str = "
[auth]
header = \"X-User-ID\"

[[tables]]
name = \"tasks\"
sync = \"log\"
owner_column = \"owner_id\"
";

/// Members of teams in a table of the application, and projects to which devices subscribe.
const MEMBERS: &str = "
[membership]
query = \"SELECT user_id, 'team:' || team AS bucket FROM member\"
tables = [\"member\"]

[[tables]]
name = \"reports\"
bucket_by_column = \"project\"
bucket_prefix = \"project:\"
write = \"bucket\"

[[streams]]
name = \"project\"
parameters = [{ name = \"project\", type = \"text\" }]
bucket = \"project:{project}\"
allow = \"SELECT true FROM project_member WHERE user_id = :user AND project = :project\"
";

/// Connections for ten thousand event streams, of which three quarters are used.
const STREAMS_LIMITS: &str = "
[limits]
connections = 14_000
";

/// The configuration's name in the server's folder.
const FILE: &str = "rejoin.toml";

/// A running server over one database.
pub(crate) struct Served {
    folder: tempfile::TempDir,
    process: Child,
    pub(crate) address: String,
}

/// Creates the tables.
pub(crate) fn tables(session: &Session) -> Result<()> {
    session.run(TABLES)
}

fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let binary = own.with_file_name("rejoin-server");
    ensure!(
        binary.is_file(),
        "{} is not there: run `cargo xtask bench server`, which builds it",
        binary.display()
    );
    Ok(binary)
}

/// Starts the server and waits until it listens; returns its process and its address.
fn started(file: &Path, listen: &str) -> Result<(Child, String)> {
    let mut process = Command::new(binary()?)
        .args(["serve", "--listen", listen, "--config"])
        .arg(file)
        .env("REJOIN_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = process.stdout.take().context("a piped child has a standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line.trim().strip_prefix("listening on http://").map(str::to_owned);
    let Some(address) = address else {
        let _ = process.kill();
        let _ = process.wait();
        anyhow::bail!("the server does not come up: {line}");
    };
    Ok((process, address))
}

impl Served {
    /// Serves a database that has the tables.
    pub(crate) fn over(url: &str) -> Result<Self> {
        Self::configured(url, CONFIGURATION)
    }

    /// Serves the tasks in a SQLite file.
    pub(crate) fn over_sqlite() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        rusqlite::Connection::open(folder.path().join("app.db"))?.execute_batch(SQLITE_TABLES)?;
        Self::in_folder(folder, &format!("database = \"app.db\"\n{SQLITE_CONFIGURATION}"))
    }

    /// Serves the tasks of such a database as a table of the log.
    pub(crate) fn over_log(url: &str) -> Result<Self> {
        Session::to(url)?.run("DROP TABLE notes")?;
        Self::configured(url, LOG_CONFIGURATION)
    }

    /// Serves a database that has the tables, with members of teams and projects.
    pub(crate) fn over_members(url: &str) -> Result<Self> {
        Self::configured(url, &format!("{CONFIGURATION}{MEMBERS}"))
    }

    /// Serves a database that has the tables, with room for many event streams.
    pub(crate) fn over_streams(url: &str) -> Result<Self> {
        Self::configured(url, &format!("{CONFIGURATION}{STREAMS_LIMITS}"))
    }

    fn configured(url: &str, configuration: &str) -> Result<Self> {
        Self::in_folder(tempfile::tempdir()?, &format!("store = \"{url}\"\n{configuration}"))
    }

    fn in_folder(folder: tempfile::TempDir, configuration: &str) -> Result<Self> {
        let file = folder.path().join(FILE);
        std::fs::write(&file, configuration)?;
        let (process, address) = started(&file, "127.0.0.1:0")?;
        Ok(Self { folder, process, address })
    }

    /// Stops the server as an operator does, with SIGTERM, and waits for its end.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status()?;
        ensure!(sent.success(), "no SIGTERM was sent: {sent}");
        let status = self.process.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Starts a stopped server again, on the same address.
    pub(crate) fn start(&mut self) -> Result<()> {
        let file = self.folder.path().join(FILE);
        (self.process, self.address) = started(&file, &self.address)?;
        Ok(())
    }

    /// Runs another command of the binary with the same configuration.
    pub(crate) fn command(&self, name: &str) -> Result<()> {
        let mut command = Command::new(binary()?);
        command.args([name, "--config"]).arg(self.folder.path().join(FILE));
        let status = command.env("REJOIN_LOG", "warn").stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{name} ended with {status}");
        Ok(())
    }

    /// A memory value of the process in KiB, by its name in `/proc`: `VmRSS` is the current value,
    /// `VmHWM` the maximum.
    pub(crate) fn memory(&self, name: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.process.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("{path}: Linux only"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.with_context(|| format!("no {name}"))?.parse()?)
    }
}

/// Clock ticks a second in `/proc`.
const TICKS: f64 = 100.0;

impl Served {
    /// CPU time of the process so far, in milliseconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.process.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("{path}: Linux only"))?;
        let (_, fields) = text.rsplit_once(')').context("no name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? / TICKS * 1e3)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
