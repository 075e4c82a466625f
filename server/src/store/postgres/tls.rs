//! Builds the TLS connector for the database from the URL, with rustls on ring as everywhere in
//! Rejoin.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::log_text;
use crate::config::{DatabaseAddress, Roots, Trust};
use crate::error::ServerError;

/// A database to connect to.
#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    tls: MakeRustlsConnect,
    is_assumed: bool,
}

/// A connection that must be driven by a task.
pub(super) type DrivenConnection =
    Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

impl std::fmt::Debug for Target {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Target").field("hosts", &self.config.get_hosts()).finish_non_exhaustive()
    }
}

impl Target {
    /// Loads the certificates that the URL names.
    pub(super) fn new(place: DatabaseAddress) -> Result<Self, ServerError> {
        let DatabaseAddress { config, trust, is_assumed } = place;
        let failed = |why: String| ServerError::Postgres(why);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?;
        let verified = match trust {
            Trust::Off | Trust::Anybody => versions
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Lenient { roots: None, provider })),
            Trust::Signed(from) => {
                let roots = Some(roots(&from).map_err(failed)?);
                versions
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Lenient { roots, provider }))
            }
            Trust::Named(from) => versions.with_root_certificates(roots(&from).map_err(failed)?),
        };
        let mut tls = verified.with_no_client_auth();
        if config.get_ssl_negotiation() == SslNegotiation::Direct {
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Self { config, tls: MakeRustlsConnect::new(tls), is_assumed })
    }

    pub(super) async fn connect(&self) -> Result<(Client, DrivenConnection), Error> {
        self.config.connect(self.tls.clone()).await
    }

    /// Timeout for establishing a connection, over all addresses of a host.
    pub(super) fn connects_within(&self) -> Duration {
        let one = self.config.get_connect_timeout().copied().unwrap_or_default();
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len());
        one.saturating_mul(u32::try_from(hosts).unwrap_or(u32::MAX).saturating_add(2))
    }

    /// Idle time after which the connection is probed.
    pub(super) fn probes_after(&self) -> Duration {
        self.config.get_keepalives_idle()
    }

    /// Why the first connection failed, and the remedy.
    pub(super) fn log_text(&self, error: &Error) -> String {
        let why = log_text(error);
        if !self.is_assumed || error.as_db_error().is_some() {
            return why;
        }
        format!(
            "{why} (a URL that says nothing of TLS is taken as plain on this machine, and as sslmode=verify-full elsewhere: set \
             sslmode, and sslrootcert if the machine does not trust who signs)"
        )
    }
}

fn roots(from: &Roots) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match from {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            let (good, _) = store.add_parsable_certificates(found.certs);
            if good == 0 {
                return Err(String::from(
                    "this machine has no root certificates: name some in sslrootcert",
                ));
            }
        }
        Roots::File(path) => {
            let bad =
                |why: &dyn std::fmt::Display| format!("sslrootcert {}: {why}", path.display());
            let found = CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| bad(&error))?;
                store.add(certificate).map_err(|error| bad(&error))?;
            }
            if store.is_empty() {
                return Err(bad(&"there is no certificate in it"));
            }
        }
    }
    Ok(store)
}

/// Accepts a certificate for any name: signed by these roots, or any. The peer must prove
/// possession of its key.
#[derive(Debug)]
struct Lenient {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let algorithms = self.provider.signature_verification_algorithms.all;
            let shown = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(
                &shown,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
