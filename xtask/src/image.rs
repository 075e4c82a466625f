//! The image of the server (`server/Dockerfile`) without a container engine, and the files that
//! deploy the server.
//!
//! The binary is built for musl in the dev profile. It runs with the files of the Dockerfile's last
//! stage as its root folder, as the image's user, with the image's variables and commands. The
//! commands of the first stage are not run.

mod deployment;
mod dockerfile;

use crate::built::Built;
use crate::library::{claim, rust_std};
use crate::process::{announce, output, succeeds, version};
use crate::report::Count;
use crate::workspace::root;
use anyhow::{Context as _, Result, bail, ensure};
use dockerfile::Image;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const DOCKERFILE: &str = "server/Dockerfile";

const PROGRAM: &str = "rejoin-server";

/// The C compiler, as in the Dockerfile.
const COMPILER: &str = "env.TARGET_CC='musl-gcc'";

/// The table of the served configuration, for SQLite.
const TABLE: &str = "CREATE TABLE tasks (id TEXT PRIMARY KEY, title TEXT NOT NULL, \
                     owner_id TEXT NOT NULL, updated_at TEXT)";

/// A variable of `compose.yaml`, and a value for tests.
const SECRET: (&str, &str) = ("REJOIN_AUTH_JWT_SECRET", "a secret of at least thirty-two bytes");

/// Builds the binary, runs it in its root folder, and checks the files that deploy it.
pub(crate) fn checked() -> Result<Count> {
    let mut count = deployment::yaml()?;
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if let Some(missing) = missing(&target)? {
        count += Count::skipped(&format!("the static binary: {missing}"));
        return Ok(count);
    }
    let image = Image::of(&fs::read_to_string(root().join(DOCKERFILE))?)?;
    let fixed = ["build", "--package", PROGRAM, "--bin", PROGRAM, "--config", COMPILER];
    let built = Built::by(&[&fixed[..], &["--target", &target]].concat())?;
    let binary = built.path(PROGRAM)?;
    let container = Container::new(image, binary)?;
    count += claim("the image's commands run in its root folder", &container.serves());
    count += deployment::compose(binary)?;
    count += deployment::unit(binary)?;
    Ok(count)
}

/// What is missing on this machine to build and run the binary.
fn missing(target: &str) -> Result<Option<String>> {
    if !cfg!(target_os = "linux") {
        return Ok(Some("it is built on Linux only".to_owned()));
    }
    if let Some(missing) = rust_std::missing(target)? {
        return Ok(Some(missing));
    }
    let programs = [("musl-gcc", "--version"), ("curl", "--version"), ("sqlite3", "--version")];
    if let Some((name, _)) = programs.iter().find(|(name, flag)| version(name, flag).is_none()) {
        return Ok(Some(format!("there is no {name}")));
    }
    let mut namespace = Command::new("unshare");
    namespace.args(["--map-root-user", "true"]);
    let is_allowed = succeeds(namespace).unwrap_or(false);
    Ok((!is_allowed).then(|| "this user cannot `unshare` a user namespace".to_owned()))
}

/// A root folder with the files of the image, and an address that is free on this machine.
struct Container {
    image: Image,
    root: PathBuf,
    listen: String,
}

impl Container {
    fn new(image: Image, binary: &Path) -> Result<Self> {
        let folder = root().join("target/server-image");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        for (from, to) in &image.copied {
            let to = inside(&folder, to);
            fs::create_dir_all(to.parent().unwrap_or(&folder))?;
            if from.ends_with(PROGRAM) {
                fs::copy(binary, to)?;
            } else if *from == image.folder {
                fs::create_dir_all(to)?;
            } else {
                // A file of the first stage's Debian.
                fs::copy(from, to).with_context(|| format!("cannot copy {from}"))?;
            }
        }
        // The image names an address of its own network.
        let all = image.variable("REJOIN_LISTEN").context("the image sets no REJOIN_LISTEN")?;
        let (host, _) = all.rsplit_once(':').context("REJOIN_LISTEN has no port")?;
        let listen = free(host)?;
        Ok(Self { image, root: folder, listen })
    }

    /// The folder that the image's user may write.
    fn data(&self) -> PathBuf {
        inside(&self.root, &self.image.folder)
    }

    /// A command line in the container. The image's user owns what this one owns.
    fn run(&self, command: &[String], arguments: &[&str]) -> Command {
        let mut run = Command::new("unshare");
        let (user, group) = &self.image.user;
        run.args([format!("--map-user={user}"), format!("--map-group={group}")]);
        run.arg(format!("--root={}", self.root.display()));
        run.arg(format!("--wd={}", self.image.folder)).args(command).args(arguments);
        run.env_clear().envs(self.image.variables.iter().cloned());
        run.env("REJOIN_LISTEN", &self.listen).envs([SECRET]);
        run
    }

    fn serves(&self) -> Result<()> {
        let program = &self.image.entrypoint;
        let printed = output(self.run(program, &["--version"]))?;
        ensure!(printed.starts_with(PROGRAM), "--version: {printed}");
        let configuration = format!("database = \"app.db\"\n{}", deployment::content("rejoin")?);
        fs::write(self.data().join("rejoin.toml"), configuration)?;
        let mut sqlite = Command::new("sqlite3");
        sqlite.arg(self.data().join("app.db")).arg(TABLE);
        output(sqlite)?;
        let printed = output(self.run(program, &["check"]))?;
        ensure!(printed.contains("are good"), "check: {printed}");
        self.trusts_roots()?;
        let command: Vec<&str> = self.image.command.iter().map(String::as_str).collect();
        let server = Server::start(self.run(program, &command))?;
        let (_, port) = self.listen.rsplit_once(':').context("the address has a port")?;
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail"]);
        curl.arg(format!("http://127.0.0.1:{port}/healthz"));
        let health = output(curl)?;
        ensure!(health.contains(r#""status":"ok""#), "healthz: {health}");
        let ready = output(self.run(&self.image.healthcheck, &[]))?;
        ensure!(ready.contains(r#""status":"ready""#), "{:?}: {ready}", self.image.healthcheck);
        server.stop()?;
        let is_healthy = succeeds(self.run(&self.image.healthcheck, &[]))?;
        ensure!(!is_healthy, "{:?}: succeeds without a server", self.image.healthcheck);
        Ok(())
    }

    /// A connection to PostgreSQL with `verify-full` fails at the connection, after the server has
    /// found root certificates.
    fn trusts_roots(&self) -> Result<()> {
        let mut check = self.run(&self.image.entrypoint, &["check"]);
        check.env("REJOIN_STORE", "postgres://a:b@127.0.0.1:1/c?sslmode=verify-full");
        announce(&check);
        let why = String::from_utf8_lossy(&check.output()?.stderr).into_owned();
        ensure!(why.contains("refused") && !why.contains("root certificates"), "check: {why}");
        Ok(())
    }
}

/// An address of this host with a free port.
fn free(host: &str) -> Result<String> {
    Ok(TcpListener::bind((host, 0))?.local_addr()?.to_string())
}

/// An absolute path in this root folder.
fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// A running server; killed when dropped.
struct Server(Child);

impl Server {
    /// Starts it, and waits until it listens.
    fn start(mut command: Command) -> Result<Self> {
        announce(&command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut server = Self(child);
        let mut line = String::new();
        let stdout = server.0.stdout.take().context("a piped child has a standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.starts_with("listening on "), "serve: {line}");
        Ok(server)
    }

    /// Sends SIGTERM and waits for the exit code 0.
    fn stop(mut self) -> Result<()> {
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -TERM {}", self.0.id())]);
        if !succeeds(kill)? {
            bail!("the server has ended before it was stopped");
        }
        let status = self.0.wait()?;
        ensure!(status.success(), "after SIGTERM: {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
