//! The binary: `rejoin-server init` writes a configuration, `serve` runs the server, `compact`
//! cleans up a database.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::exit
    )
)]
#![allow(clippy::print_stderr)] // Commands print their result.

use std::io::{Write as _, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use rejoin_server::store::postgres::PostgresStore;
use rejoin_server::{
    Auth, Compaction, Config, Imported, Jwks, JwtConfig, LogStatus, PlanStep, PushPolicy,
    QueryPlan, Server, TableConfig,
};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The companion server of Rejoin.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

mod command;

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a configuration file with every key, its meaning and its default.
    Init {
        /// The file to write; an existing file is not overwritten.
        #[arg(long, default_value = "rejoin.toml")]
        config: PathBuf,
    },
    /// Serves until SIGINT or SIGTERM.
    Serve {
        /// The configuration.
        #[arg(long, default_value = "rejoin.toml")]
        config: PathBuf,
        /// The address to listen on, instead of the one in the configuration; port 0 takes a free one.
        #[arg(long)]
        listen: Option<SocketAddr>,
    },
    /// Checks the configuration and the tables of its database, and reports every problem.
    Check {
        /// The configuration.
        #[arg(long, default_value = "rejoin.toml")]
        config: PathBuf,
    },
    /// Prints `/readyz` of the server that runs with this configuration; fails unless it is ready.
    Ready {
        /// The configuration.
        #[arg(long, default_value = "rejoin.toml")]
        config: PathBuf,
    },
    /// Prints the migrations of the server's own tables in PostgreSQL as SQL; `serve` runs the same.
    Migrations {
        /// Required: the SQL goes to standard output.
        #[arg(long, required = true)]
        print: bool,
        /// Leaves out the first N migrations, which the database already has.
        #[arg(long, default_value_t = 0)]
        from: usize,
    },
    /// Lists the devices: user, app, last contact, and how many log entries they are behind.
    Clients {
        /// One JSON object per line.
        #[arg(long)]
        json: bool,
        /// The configuration.
        #[arg(long, default_value = "rejoin.toml")]
        config: PathBuf,
    },
    /// Prints the schema that devices get, as JSON.
    Schema {
        /// Lists every schema that was served, newest first: version, hash, first served at.
        #[arg(long)]
        history: bool,
        /// Prints the schema of this version.
        #[arg(long, conflicts_with = "history")]
        version: Option<i64>,
        /// The configuration.
        #[arg(long, default_value = "rejoin.toml")]
        config: PathBuf,
    },
    /// Runs the bucket functions again for the rows for which they failed.
    Replay {
        /// The configuration.
        #[arg(long, default_value = "rejoin.toml")]
        config: PathBuf,
    },
    /// Prints the row level security policies for the tables in PostgreSQL as SQL.
    Rls {
        /// Required: the SQL goes to standard output.
        #[arg(long, required = true)]
        print: bool,
        /// The configuration.
        #[arg(long, default_value = "rejoin.toml")]
        config: PathBuf,
    },
    /// The log model: its state, and its authority.
    Log {
        #[command(subcommand)]
        command: LogCommand,
        /// The configuration.
        #[arg(long, default_value = "rejoin.toml", global = true)]
        config: PathBuf,
    },
    /// Deletes the entries of the change log that no device needs, and old verdicts; folds old
    /// entries of the log model into its base.
    Compact {
        /// The configuration.
        #[arg(long, default_value = "rejoin.toml")]
        config: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Prints epoch, last position, horizon and authority.
    Status,
    /// Makes a device the authority, which may correct the entries of others.
    Appoint {
        /// The client id of the device.
        device: String,
    },
    /// Imports the log of a Synchrotron database, from a file of JSON lines.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Begins a new epoch after a backup was restored: devices send again what it lacks.
    NewEpoch,
    /// Dismisses the authority; its corrections stay.
    Dismiss,
    /// Returns an entry from the authority to its author.
    Release {
        /// The id of the entry.
        entry: String,
    },
}

fn main() -> anyhow::Result<()> {
    match run() {
        // The reader, `head` for example, has closed the pipe.
        Err(error) if error.downcast_ref().is_some_and(is_closed_pipe) => Ok(()),
        done => done,
    }
}

fn is_closed_pipe(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::BrokenPipe
}

fn run() -> anyhow::Result<()> {
    let command = Arguments::parse().command;
    if let Command::Serve { config, listen } = &command {
        return serve(load(config, *listen)?);
    }
    init_logging(None::<Quiet>);
    match command {
        Command::Init { config } => init(&config),
        Command::Serve { .. } => Ok(()),
        Command::Check { config } => {
            let server = Server::open(load(&config, None)?)?;
            let left_out = server.left_out()?;
            for left_out in &left_out {
                eprintln!("{left_out}");
            }
            anyhow::ensure!(
                left_out.is_empty(),
                "{} parts of the tables are not served",
                left_out.len()
            );
            for QueryPlan { place, steps } in server.query_plans()? {
                for PlanStep { text, is_scan } in steps {
                    writeln!(stdout(), "{place}: {text}")?;
                    if is_scan {
                        eprintln!("{place} reads a whole table for each request: add an index");
                    }
                }
            }
            writeln!(stdout(), "{} and its database are good", config.display())?;
            Ok(())
        }
        Command::Ready { config } => command::ready(&load(&config, None)?),
        Command::Migrations { print: _, from } => {
            write!(stdout(), "{}", PostgresStore::migration_script(from))?;
            Ok(())
        }
        Command::Clients { json, config } => {
            command::clients(&Server::look(load(&config, None)?)?, json)
        }
        Command::Schema { history, version, config } => {
            let server = Server::look(load(&config, None)?)?;
            if history { command::history(&server) } else { command::manifest(&server, version) }
        }
        Command::Replay { config } => replay(&config),
        Command::Rls { print: _, config } => {
            write!(stdout(), "{}", rejoin_server::row_security(&load(&config, None)?)?)?;
            Ok(())
        }
        Command::Log { command, config } => {
            operate_log(&Server::open(load(&config, None)?)?, &command)
        }
        Command::Compact { config } => compact(&config),
    }
}

fn replay(config: &Path) -> anyhow::Result<()> {
    let server = Server::open(load(config, None)?)?;
    let done = server.replay_buckets()?;
    writeln!(stdout(), "ran the bucket functions for {} rows, {} failed", done.tried, done.failed)?;
    for failure in server.bucket_failures()? {
        writeln!(stdout(), "{} {}: {}", failure.table, failure.id, failure.why)?;
    }
    Ok(())
}

fn compact(config: &Path) -> anyhow::Result<()> {
    let done = Server::open(load(config, None)?)?.compact()?;
    let Compaction { entries, verdicts, times, elsewhere, .. } = done;
    writeln!(
        stdout(),
        "deleted {entries} log entries, {verdicts} verdicts and {times} edit times"
    )?;
    if elsewhere {
        writeln!(stdout(), "another server is compacting this database: the rest is left to it")?;
    }
    Ok(())
}

fn operate_log(server: &Server, command: &LogCommand) -> anyhow::Result<()> {
    match command {
        LogCommand::Status => {
            let LogStatus { epoch, head, horizon_ms, authority } = server.log_status()?;
            writeln!(stdout(), "epoch\t{epoch}\nhead\t{head}\nhorizon\t{horizon_ms}")?;
            writeln!(stdout(), "authority\t{}", authority.as_deref().unwrap_or("none"))?;
        }
        LogCommand::Appoint { device } => server.appoint_authority(Some(device))?,
        LogCommand::Import { file } => {
            let Imported { entries, known, old, empty, set_rows, kept_rows } =
                server.import_log(file)?;
            writeln!(
                stdout(),
                "imported {entries} entries and set {set_rows} rows to those of the file"
            )?;
            writeln!(
                stdout(),
                "{known} entries were known, {old} too old, and {empty} actions changed no row"
            )?;
            writeln!(stdout(), "{kept_rows} rows differ from the file and were kept")?;
        }
        LogCommand::NewEpoch => server.begin_epoch()?,
        LogCommand::Dismiss => server.appoint_authority(None)?,
        LogCommand::Release { entry } if server.release_entry(entry)? => {
            writeln!(stdout(), "{entry} is its author's again")?;
        }
        LogCommand::Release { entry } => {
            anyhow::bail!("the authority does not have {entry}: nothing to release")
        }
    }
    Ok(())
}

fn init(path: &Path) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    // It may have a secret.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file =
        options.open(path).with_context(|| format!("{} cannot be written", path.display()))?;
    file.write_all(rejoin_server::config::TEMPLATE.as_bytes())?;
    writeln!(
        stdout(),
        "wrote {}: set the database and the tables, then run `rejoin-server check`",
        path.display()
    )?;
    Ok(())
}

fn load(path: &Path, listen: Option<SocketAddr>) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("{} cannot be read; `rejoin-server init` writes one", path.display())
    })?;
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let mut config = Config::from_toml(&text, &environment)
        .map_err(rejoin_server::ServerError::Config)
        .with_context(|| format!("{} is invalid", path.display()))?;
    if let Some(listen) = listen {
        config.listen = listen;
    }
    // Relative paths are relative to the file's folder.
    if let Some(folder) = path.parent() {
        if config.store.is_none() {
            config.database = folder.join(&config.database);
        }
        if let Some(place) = config.page_store.as_mut().filter(|place| !place.contains("://")) {
            *place = folder.join(&*place).to_string_lossy().into_owned();
        }
        if let Auth::Jwt(JwtConfig { keys: Some(Jwks::File(keys)), .. }) = &mut config.auth {
            *keys = folder.join(&*keys);
        }
    }
    Ok(config)
}

/// A layer that does nothing.
type Quiet = tracing_subscriber::layer::Identity;

/// Sets up logging to standard error, and passes spans to `telemetry`.
fn init_logging(telemetry: Option<impl Layer<Registry> + Send + Sync>) {
    let wanted = std::env::var("REJOIN_LOG").unwrap_or_default();
    let wanted = if wanted.is_empty() { "info" } else { &wanted };
    // The export's own records, unless they are asked for: directives that follow count.
    let filter = EnvFilter::try_new(format!("opentelemetry=warn,opentelemetry_sdk=warn,{wanted}"))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let words = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    tracing_subscriber::registry().with(telemetry).with(words).init();
}

/// Runs the server, with telemetry export if configured.
fn serve(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if !config.otlp {
        init_logging(None::<Quiet>);
        return serve_on(runtime, config, || ());
    }
    #[cfg(feature = "otel")]
    {
        let telemetry = rejoin_server::telemetry::Telemetry::start(runtime.handle())
            .map_err(|why| anyhow::anyhow!("telemetry: {why}"))?;
        init_logging(telemetry.layer());
        serve_on(runtime, config, || telemetry.stop())
    }
    #[cfg(not(feature = "otel"))]
    anyhow::bail!("telemetry.otlp: this binary was built without the feature otel")
}

/// The synced tables, each with the users who get its rows.
fn tables(config: &Config) -> String {
    let whose = |table: &TableConfig| match (&table.owner_column, &table.parent) {
        _ if table.allow_global_read => String::from("all users"),
        _ if table.push == Some(PushPolicy::Bucket) => String::from("by bucket"),
        _ if table.push == Some(PushPolicy::InsertOnly) => String::from("no user"),
        (Some(owner), _) => format!("the user in {owner}"),
        (None, Some(parent)) => format!("as {}", parent.table),
        (None, None) => String::from("by bucket"),
    };
    let tables = config.tables.iter().map(|table| format!("{} ({})", table.name, whose(table)));
    tables.collect::<Vec<_>>().join(", ")
}

fn serve_on(
    runtime: tokio::runtime::Runtime,
    config: Config,
    ending: impl FnOnce(),
) -> anyhow::Result<()> {
    let server = Server::open(config)?;
    let done = runtime.block_on(async {
        let listen = server.config().listen;
        let listener = tokio::net::TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {listen}"))?;
        tracing::info!(tables = tables(server.config()), "serving");
        // Before the address is printed: the reader may send a signal at once.
        let stopped = stop_signal()?;
        // The server runs on if the reader of the address has closed the pipe.
        let printed = writeln!(stdout(), "listening on http://{}", listener.local_addr()?);
        match printed.and_then(|()| stdout().flush()) {
            Err(error) if is_closed_pipe(&error) => {}
            printed => printed?,
        }
        let serving = server.serve(listener);
        tokio::pin!(serving);
        tokio::select! {
            done = &mut serving => return anyhow::Ok(done?),
            signal = stopped => signal?,
        }
        server.shutdown();
        Ok(serving.await?)
    });
    ending();
    // Requests that outlast the grace time are aborted; responses already sent are unaffected.
    runtime.shutdown_background();
    done
}

/// Installs handlers for SIGINT and SIGTERM; the future ends at the first signal.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = std::io::Result<()>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
}

/// Ends at Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = std::io::Result<()>>> {
    Ok(tokio::signal::ctrl_c())
}
