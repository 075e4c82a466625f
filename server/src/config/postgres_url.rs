//! The URL of a PostgreSQL database and the TLS verification it asks for. The password is never
//! printed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode};

/// `postgres://user:password@host:5432/database?...`, in libpq's syntax. Supports the parameters of
/// tokio-postgres, `sslmode` and `sslrootcert`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

/// A parsed URL.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseAddress {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) trust: Trust,
    /// Whether the URL does not mention TLS.
    pub(crate) is_assumed: bool,
}

impl DatabaseAddress {
    /// Hosts, ports and name of the database, without credentials.
    pub(crate) fn place(&self) -> String {
        let config = &self.config;
        format!("{:?} {:?} {:?}", config.get_hosts(), config.get_ports(), config.get_dbname())
    }
}

/// How the database's certificate is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// No TLS.
    Off,
    /// TLS without verification: protects against passive listeners only.
    Anybody,
    /// The certificate must be signed by a trusted root; the host name is not checked.
    Signed(Roots),
    /// The certificate must be signed by a trusted root for the host name.
    Named(Roots),
}

/// The trusted root certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The system's root certificates.
    System,
    /// The certificates of this file.
    File(PathBuf),
}

impl PostgresUrl {
    /// Parses the URL; the error message contains no password.
    pub(crate) fn parse(&self) -> Result<DatabaseAddress, String> {
        let is_url = ["postgres://", "postgresql://"].iter().any(|word| self.0.starts_with(word));
        if !is_url {
            return Err(String::from("a store is postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
        }
        let (url, mode, roots) = self.without_trust()?;
        let mut config: tokio_postgres::Config =
            url.parse().map_err(|error: tokio_postgres::Error| {
                std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string)
            })?;
        let roots = roots.map(|path| match path.as_str() {
            "system" => Roots::System,
            _ => Roots::File(PathBuf::from(path)),
        });
        let is_assumed = mode.is_none();
        let (ssl_mode, trust) = match (mode.as_deref(), roots) {
            (Some("disable"), None) => (SslMode::Disable, Trust::Off),
            (Some("prefer"), None) => (SslMode::Prefer, Trust::Anybody),
            (Some("require"), None) => (SslMode::Require, Trust::Anybody),
            // As in libpq: `require` with a root certificate verifies the certificate.
            (Some("require"), Some(roots)) => (SslMode::Require, Trust::Signed(roots)),
            (Some("verify-ca"), roots) => {
                (SslMode::Require, Trust::Signed(roots.unwrap_or(Roots::System)))
            }
            (Some("verify-full"), roots) => {
                (SslMode::Require, Trust::Named(roots.unwrap_or(Roots::System)))
            }
            (None, None) if is_here(&config) => (SslMode::Disable, Trust::Off),
            (None, roots) => (SslMode::Require, Trust::Named(roots.unwrap_or(Roots::System))),
            (Some("disable" | "prefer"), Some(_)) => {
                return Err(String::from(
                    "sslrootcert: this sslmode verifies no certificate; set verify-full",
                ));
            }
            (Some(_), _) => {
                return Err(String::from(
                    "sslmode is disable, prefer, require, verify-ca or verify-full",
                ));
            }
        };
        config.ssl_mode(ssl_mode);
        if config.get_application_name().is_none() {
            config.application_name("rejoin-server");
        }
        set_time_outs(&mut config);
        Ok(DatabaseAddress { config, trust, is_assumed })
    }

    /// The URL without `sslmode` and `sslrootcert`, which the driver supports only partly, and
    /// their values.
    fn without_trust(&self) -> Result<(String, Option<String>, Option<String>), String> {
        // Skip user name and password, which may contain any character.
        let start = self.0.find('@').map_or(0, |at| at + 1);
        let Some(at) = self.0[start..].find('?').map(|at| start + at) else {
            return Ok((self.0.clone(), None, None));
        };
        let (mut mode, mut roots) = (None, None);
        let mut others = Vec::new();
        for parameter in self.0[at + 1..].split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let slot = match name {
                "sslmode" => &mut mode,
                "sslrootcert" => &mut roots,
                _ => {
                    others.push(parameter);
                    continue;
                }
            };
            let value = percent_decode_str(value).decode_utf8();
            *slot = Some(value.map_err(|_| format!("{name} is no UTF-8"))?.into_owned());
        }
        let question = if others.is_empty() { "" } else { "?" };
        Ok((format!("{}{question}{}", &self.0[..at], others.join("&")), mode, roots))
    }
}

/// Sets the socket timeouts that the URL leaves out: the connection fails after half a minute
/// without a response.
fn set_time_outs(config: &mut tokio_postgres::Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(10));
    }
    if config.get_keepalives_idle() == tokio_postgres::Config::new().get_keepalives_idle() {
        config.keepalives_idle(Duration::from_secs(15));
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(Duration::from_secs(5));
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(3);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(30));
    }
}

/// Whether the connection stays on this machine.
fn is_here(config: &tokio_postgres::Config) -> bool {
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        return addresses.iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    })
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
            Ok(DatabaseAddress { config, .. }) => {
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

#[cfg(test)]
mod tests {
    use super::{PostgresUrl, Roots, Trust};

    fn trust(url: &str) -> Result<Trust, String> {
        PostgresUrl::from(url).parse().map(|place| place.trust)
    }

    #[test]
    fn url_selects_certificate_verification() {
        let file = || Roots::File("/etc/ca 1.pem".into());
        for (url, expected) in [
            ("postgres://a@db/x?sslmode=disable", Trust::Off),
            ("postgres://a@db/x?sslmode=prefer", Trust::Anybody),
            ("postgres://a@db/x?connect_timeout=3&sslmode=require", Trust::Anybody),
            ("postgres://a@db/x?sslmode=verify-ca", Trust::Signed(Roots::System)),
            (
                "postgres://a@db/x?sslmode=verify-full&sslrootcert=system",
                Trust::Named(Roots::System),
            ),
            (
                "postgres://a@db/x?sslrootcert=/etc/ca%201.pem&sslmode=verify-ca",
                Trust::Signed(file()),
            ),
            (
                "postgres://a@db/x?sslmode=require&sslrootcert=/etc/ca%201.pem",
                Trust::Signed(file()),
            ),
            ("postgres://a@db/x?sslrootcert=/etc/ca%201.pem", Trust::Named(file())),
        ] {
            assert_eq!(trust(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn url_without_sslmode_is_plain_on_loopback_only() {
        for url in [
            "postgres://a@localhost/x",
            "postgres://a@127.0.0.1,[::1]/x",
            "postgres://a@%2Ftmp/x",
            "postgres://a@db.example.org/x?hostaddr=127.0.0.1",
        ] {
            assert_eq!(trust(url), Ok(Trust::Off), "{url}");
        }
        for url in [
            "postgres://a@db.example.org/x",
            "postgres://a:p?q@10.0.0.7/x",
            "postgres://a@localhost,db/x",
            "postgres://a@localhost/x?hostaddr=10.0.0.7",
        ] {
            assert_eq!(trust(url), Ok(Trust::Named(Roots::System)), "{url}");
        }
    }

    #[test]
    fn socket_timeouts_default_to_half_a_minute() {
        let time_outs = |url: &str| {
            let config = PostgresUrl::from(url).parse().unwrap().config;
            let probes = config.get_keepalives_interval().unwrap()
                * config.get_keepalives_retries().unwrap();
            let times =
                [config.get_keepalives_idle() + probes, *config.get_tcp_user_timeout().unwrap()];
            times.map(|time| time.as_secs())
        };
        assert_eq!(time_outs("postgres://a@db/x"), [30, 30]);
        let given =
            "keepalives_idle=60&keepalives_interval=2&keepalives_retries=5&tcp_user_timeout=9";
        assert_eq!(time_outs(&format!("postgres://a@db/x?{given}")), [70, 9]);
    }

    #[test]
    fn place_is_where_the_database_is_without_credentials() {
        let place = |url: &str| PostgresUrl::from(url).parse().unwrap().place();
        let app = place("postgres://a:secret@db:5432/app");
        assert_eq!(app, place("postgres://b:other@db:5432/app?sslmode=disable"));
        assert!(!app.contains("secret"), "{app}");
        for other in ["a@db:5433/app", "a@db:5432/copy", "a@copy:5432/app", "a@/app?host=/run/a"] {
            assert_ne!(app, place(&format!("postgres://{other}")));
        }
        assert_ne!(place("postgres:///app?host=/run/a"), place("postgres:///app?host=/run/b"));
    }

    #[test]
    fn unknown_tls_parameter_values_are_refused() {
        for url in [
            "postgres://a@db/x?sslmode=allow",
            "postgres://a@db/x?sslmode",
            "postgres://a@db/x?sslmode=disable&sslrootcert=/etc/ca.pem",
            "postgres://a@db/x?sslcert=/etc/client.pem",
        ] {
            assert!(trust(url).is_err(), "{url}");
        }
    }
}
