//! `rejoin authority`: the authority of the log model as a program, with declared actions.
//!
//! It is a client that syncs until it is stopped. Which device corrects entries, the server decides:
//! there is one at a time. It may be killed at any moment: it continues at the next start, and
//! without it entries wait for their authors.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::BoxFuture;
use rejoin_core::{Actions, Client, Config, Services, TokenError, TokenProvider};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The server, as https://host/prefix
    #[arg(long)]
    server: String,
    /// The file with the authority's copy of the log; created if missing
    #[arg(long)]
    file: PathBuf,
    /// A declared action in JSON, as the app declares it; may be repeated
    #[arg(long, required = true)]
    action: Vec<PathBuf>,
    /// A file with the token of the authority's user; read again for each sync
    #[arg(long, required_unless_present = "user")]
    token: Option<PathBuf>,
    /// The authority's user, for a development server on this machine
    #[arg(long, conflicts_with = "token")]
    user: Option<String>,
    /// Seconds between two syncs, unless the server reports a change
    #[arg(long, default_value_t = 5)]
    every: u64,
    /// Sync once and end
    #[arg(long)]
    once: bool,
}

/// The token in a file.
#[derive(Debug)]
struct TokenFile(PathBuf);

impl TokenProvider for TokenFile {
    fn token(&self, _: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        let path = self.0.display();
        let token = match std::fs::read_to_string(&self.0) {
            Ok(text) if text.trim().is_empty() => {
                Err(TokenError(format!("{path} is empty: write the token of the user into it")))
            }
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) => Err(TokenError(format!("{path}: {error}"))),
        };
        Box::pin(std::future::ready(token))
    }
}

/// Syncs until the process ends.
///
/// # Errors
/// For wrong options, and if the file cannot be opened. With `--once` also those of the sync.
pub(crate) fn run(options: Options) -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut actions = Actions::new();
    for path in &options.action {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        actions = actions.declare(&text);
    }
    let mut config = Config::new(&options.file)
        .server(options.server)
        .device_name("authority")
        .sync_interval(Duration::from_secs(options.every));
    config.user_id = options.user;
    let services = Services {
        tokens: options.token.map(|path| Arc::new(TokenFile(path)) as _),
        actions: Some(Arc::new(actions)),
        ..Services::default()
    };
    let client = Client::open_with(config, services).wait()?;
    let mut last = String::new();
    let _watching = client.on_status(move |status| {
        let state = format!("{:?}", status.state);
        if state != last {
            tracing::info!(state, "sync");
            last = state;
        }
    });
    if options.once {
        client.sync().run(None).wait()?;
    } else {
        client.start()?;
        client.sync().first_sync(None).wait()?;
    }
    let diagnosis = client.storage().diagnose().wait()?;
    let client_id = diagnosis["facts"]["client_id"].as_str().unwrap_or_default();
    writeln!(std::io::stdout(), "{client_id}")?;
    std::io::stdout().flush()?;
    if options.once {
        return Ok(client.shutdown().wait()?);
    }
    loop {
        std::thread::park();
    }
}
