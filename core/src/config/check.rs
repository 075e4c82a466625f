//! Checks of single fields: each problem is one line that begins with the field's name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rejoin_protocol::Policy;
use rejoin_protocol::limits;
use rejoin_protocol::manifest::Manifest;

/// The problems, one line each.
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<String>);

impl Problems {
    pub(super) fn path(&mut self, path: &Path) {
        // SQLite would open a temporary database for each of these.
        if path.file_name().is_none() || path.to_string_lossy().starts_with(':') {
            self.0.push(format!("path: {} names no file", path.display()));
        }
    }

    pub(super) fn url(&mut self, url: &str, allow_http: bool) {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        if host.is_empty() || url.contains(char::is_whitespace) {
            self.0.push(format!("server: {url} is no http or https address"));
        } else if url.contains(['?', '#', '@']) {
            self.0.push("server: it may carry no query, fragment or credentials".to_owned());
        } else if url.starts_with("http://") && !allow_http && !is_loopback(host) {
            self.0.push(format!(
                "server: {url} is not encrypted: use https, or set allow_http for development"
            ));
        }
    }

    pub(super) fn text(&mut self, field: &str, text: &str) {
        if text.is_empty() || text.len() > limits::NAME || text.contains(char::is_control) {
            self.0.push(format!(
                "{field}: 1 to {} bytes without control characters are asked for",
                limits::NAME
            ));
        }
    }

    pub(super) fn version(&mut self, version: &str) {
        let core = version.split(['-', '+']).next().unwrap_or_default();
        let parts: Vec<_> = core.split('.').collect();
        if parts.len() != 3 || parts.iter().any(|part| part.parse::<u32>().is_err()) {
            self.0.push(format!("app_version: {version} is not of the form 1.2.3"));
        }
        self.text("app_version", version);
    }

    pub(super) fn duration(
        &mut self,
        field: &str,
        value: Duration,
        least: Duration,
        most: Duration,
    ) {
        if value < least || value > most {
            self.0.push(format!("{field}: {value:?} is not within {least:?} to {most:?}"));
        }
    }

    pub(super) fn number(&mut self, field: &str, value: u64, least: u64, most: u64) {
        if value < least || value > most {
            self.0.push(format!("{field}: {value} is not within {least} to {most}"));
        }
    }

    /// A misspelled table name would silently keep the server's policy.
    pub(super) fn policies(
        &mut self,
        policies: &BTreeMap<String, Policy>,
        schema: Option<&Manifest>,
    ) {
        for name in policies.keys() {
            let mut known = schema.into_iter().flat_map(Manifest::synced);
            if name.is_empty() {
                self.0.push("policies: a table without a name".to_owned());
            } else if schema.is_some() && !known.any(|t| t.table_name.eq_ignore_ascii_case(name)) {
                self.0.push(format!("policies: the bundled schema has no synced table {name}"));
            }
        }
    }

    pub(super) fn schema(&mut self, schema: &Manifest) {
        if schema.tables.is_empty() {
            self.0.push("schema: it has no table".to_owned());
        }
        for (number, table) in schema.tables.iter().enumerate() {
            if schema.tables[..number].iter().any(|before| before.table_name == table.table_name) {
                self.0.push(format!("schema: table {} is there twice", table.table_name));
            }
        }
    }
}

/// Whether a host, with or without a port, is the local machine.
fn is_loopback(host: &str) -> bool {
    let port = |text: &str| text.chars().all(|digit| digit.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, end)| port(end)).map_or(host, |(name, _)| name);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
