//! The commands of the `rejoin-server` binary that print the state of a server.

use std::io::{Read as _, Write as _, stdout};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use rejoin_server::{ClientStatus, Config, Server};
use serde_json::json;

/// Devices per page.
const PAGE: usize = 500;

/// Maximum number of schemas listed.
const HISTORY: usize = 1_000;

/// How much longer than `/readyz` itself, which waits for `limits.lag_ms`, to wait for its response.
const BEYOND: Duration = Duration::from_secs(5);

/// Prints `/readyz` of the server that runs with this configuration; an error unless it is ready.
pub(crate) fn ready(config: &Config) -> anyhow::Result<()> {
    let patience = Duration::from_millis(config.limits.lag_ms.into()) + BEYOND;
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let answer = get(address, "/readyz", patience).with_context(|| {
        format!("no server on {address}: start `rejoin-server serve` with this configuration")
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    writeln!(stdout(), "{body}")?;
    let is_ready = head.split(' ').nth(1) == Some("200");
    anyhow::ensure!(is_ready, "{address}: {}", head.lines().next().unwrap_or("no response"));
    Ok(())
}

/// The response to a request, as it was sent.
fn get(address: SocketAddr, path: &str, patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    // With HTTP/1.0 the body has no chunks and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Prints every device on one line each, as text or as a JSON object.
pub(crate) fn clients(server: &Server, as_json: bool) -> anyhow::Result<()> {
    if !as_json {
        writeln!(
            stdout(),
            "user\tdevice\tplatform\tapp\tlast seen\tlast pull\tlast push\tposition\tbehind\t"
        )?;
    }
    let mut last: Option<(String, String)> = None;
    loop {
        let after = last.as_ref().map(|(user, client)| (user.as_str(), client.as_str()));
        let page = server.clients(after, PAGE)?;
        for client in &page {
            writeln!(stdout(), "{}", if as_json { object(client) } else { line(client) })?;
        }
        match page.into_iter().next_back() {
            Some(client) => last = Some((client.user, client.client_id)),
            None => return Ok(()),
        }
    }
}

fn object(client: &ClientStatus) -> String {
    json!({
        "user": client.user, "client_id": client.client_id, "name": client.name, "platform": client.platform,
        "app_version": client.app_version, "created_at": client.created_at, "seen_at": client.seen_at,
        "last_pull_at": client.last_pull_at, "last_push_at": client.last_push_at, "position": client.position,
        "behind": client.behind, "needs_snapshot": client.needs_snapshot, "is_silent": client.is_silent,
    })
    .to_string()
}

fn line(client: &ClientStatus) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| String::from("-"));
    let number = |value: Option<i64>| value.map_or_else(|| String::from("-"), |n| n.to_string());
    let note = match (client.is_silent, client.needs_snapshot) {
        (true, _) => "silent",
        (false, true) => "needs a snapshot",
        (false, false) => "",
    };
    [
        // Text from devices is escaped: it must not break the line.
        client.user.escape_debug().to_string(),
        client.client_id.escape_debug().to_string(),
        client.platform.escape_debug().to_string(),
        client.app_version.escape_debug().to_string(),
        client.seen_at.clone(),
        text(&client.last_pull_at),
        text(&client.last_push_at),
        number(client.position),
        number(client.behind),
        String::from(note),
    ]
    .join("\t")
}

/// Prints every schema that was served, newest first.
pub(crate) fn history(server: &Server) -> anyhow::Result<()> {
    for version in server.manifests(HISTORY)? {
        writeln!(stdout(), "{}\t{}\t{}", version.version, version.hash, version.created_at)?;
    }
    Ok(())
}

/// Prints one manifest, indented.
pub(crate) fn manifest(server: &Server, version: Option<i64>) -> anyhow::Result<()> {
    let Some(manifest) = server.manifest(version)? else {
        anyhow::bail!("no schema of this version was served: see `rejoin-server schema --history`");
    };
    let manifest: serde_json::Value = serde_json::from_str(&manifest)?;
    writeln!(stdout(), "{}", serde_json::to_string_pretty(&manifest)?)?;
    Ok(())
}
