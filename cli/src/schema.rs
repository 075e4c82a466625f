//! `rejoin schema`: the schema that a server serves, for an app to bundle.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rejoin_core::transport::http::ANSWER_LIMIT;
use rejoin_core::transport::{HttpRequest, Transport as _};
use rejoin_core::{HttpTransport, Manifest};
use rejoin_protocol::{PROTOCOL, PROTOCOL_HEADER};

use crate::generate::read_file;

/// The longest wait for the server.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The address of the sync server
    #[arg(long, value_name = "URL")]
    server: String,
    /// The user, for a server that trusts the header `X-User-ID`
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// A request header, such as `Authorization: Bearer TOKEN`; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
}

/// Prints the schema. The output depends on the schema only: a file of it changes with the schema.
pub(crate) fn run(options: Options) -> Result<()> {
    let mut headers = options.header;
    headers.extend(options.user_id.map(|user| format!("X-User-ID: {user}")));
    if !is_url(&options.server) {
        bail!(
            "--server {:?}: expected an address that begins with https:// or http://",
            options.server
        );
    }
    let schema = Manifest { server_time: String::new(), ..read(&options.server, &headers)? };
    let text = serde_json::to_string_pretty(&schema)?;
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The schema in a file, or of the server at this address, as the apps name it.
pub(crate) fn read(from: &str, headers: &[String]) -> Result<Manifest> {
    let text = if is_url(from) { fetch(from, headers)? } else { read_file(Path::new(from))? };
    serde_json::from_str(&text)
        .with_context(|| format!("{from}: expected the JSON of /sync/schema"))
}

fn fetch(from: &str, headers: &[String]) -> Result<String> {
    // Without the extensions a schema has no rules, policies or owner column.
    let extensions = Ok((PROTOCOL_HEADER.to_owned(), PROTOCOL.to_string()));
    let headers = headers.iter().map(|header| match header.split_once(':') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
        None => bail!("--header {header:?}: expected NAME: VALUE"),
    });
    let headers = [extensions].into_iter().chain(headers).collect::<Result<Vec<_>>>()?;
    let path = String::from("/sync/schema");
    let request = HttpRequest { method: "GET", path, headers, body: None, timeout: TIMEOUT };
    let transport = HttpTransport::new(from, ANSWER_LIMIT)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let response = runtime.block_on(transport.send(request));
    let response =
        response.with_context(|| format!("{from} cannot be reached: check the address"))?;
    if response.status != 200 {
        let body = String::from_utf8_lossy(&response.body);
        bail!(
            "{from}/sync/schema answered {}: {body}\ncheck the address, and name the user by --user-id or --header",
            response.status
        );
    }
    String::from_utf8(response.body.to_vec()).with_context(|| format!("{from} sent no text"))
}
