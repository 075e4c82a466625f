//! Where a PostgreSQL database is, and how much of what is said on the way there others may hear; a URL that is never printed
//! with its password.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode};

/// `postgres://user:password@host:5432/database?...`, as libpq reads it; of its parameters those that tokio-postgres knows,
/// and `sslmode` and `sslrootcert`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

/// A URL, read.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) trust: Trust,
    /// Whether the URL says nothing of TLS.
    pub(crate) is_assumed: bool,
}

/// Whose certificate is taken for the database's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// None is asked for: nothing is encrypted.
    Off,
    /// Anybody's: who only listens hears nothing.
    Anybody,
    /// One that somebody trusted has signed, for whatever name.
    Signed(Roots),
    /// One that somebody trusted has signed for the host's name.
    Named(Roots),
}

/// Who is trusted to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Whom the machine trusts.
    System,
    /// The certificates of this file.
    File(PathBuf),
}

impl PostgresUrl {
    /// What the URL says; the reason why it cannot be read names no password.
    pub(crate) fn parse(&self) -> Result<Place, String> {
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
            // Whoever names a root has it asked: as in libpq.
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
                    "sslrootcert: with this sslmode no certificate is asked for; set verify-full",
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
        Ok(Place { config, trust, is_assumed })
    }

    /// The URL without `sslmode` and `sslrootcert`, of which the driver knows not all, and these two.
    fn without_trust(&self) -> Result<(String, Option<String>, Option<String>), String> {
        // What stands before an @ are name and password, whatever they hold.
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

/// Sets the time-outs of the socket that the URL leaves out: a database that is silent for half a minute is lost.
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

/// Whether the way to the database leaves this machine nowhere.
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
            Ok(Place { config, .. }) => {
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
    fn what_a_url_says_of_certificates() {
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
    fn a_url_that_says_nothing_is_plain_on_this_machine_only() {
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
    fn time_outs_left_out_of_a_url_are_half_a_minute() {
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
    fn words_that_mean_nothing_are_refused() {
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
