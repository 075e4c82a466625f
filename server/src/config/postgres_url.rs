//! Where a PostgreSQL database is: a URL that is never printed with its password.

use std::time::Duration;

use tokio_postgres::config::SslMode;

/// `postgres://user:password@host:5432/database?...`, as libpq reads it; of its parameters those that tokio-postgres knows.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

impl PostgresUrl {
    /// What the driver makes of it; the reason names no password.
    pub(crate) fn parse(&self) -> Result<tokio_postgres::Config, String> {
        let is_url = ["postgres://", "postgresql://"].iter().any(|word| self.0.starts_with(word));
        if !is_url {
            return Err(String::from("a store is postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
        }
        let mut config: tokio_postgres::Config =
            self.0.parse().map_err(|error: tokio_postgres::Error| {
                std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string)
            })?;
        if config.get_ssl_mode() == SslMode::Require {
            return Err(String::from(
                "sslmode=require: TLS to the database is not there yet; use a socket or a private network",
            ));
        }
        if config.get_application_name().is_none() {
            config.application_name("rejoin-server");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        Ok(config)
    }
}

impl From<&str> for PostgresUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl From<String> for PostgresUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.parse() {
            Ok(config) => {
                write!(
                    out,
                    "{:?} at {:?}",
                    config.get_dbname().unwrap_or_default(),
                    config.get_hosts()
                )
            }
            Err(_) => out.write_str("PostgresUrl"),
        }
    }
}
