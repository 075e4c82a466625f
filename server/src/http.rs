//! The server's own HTTP client: for the keys of a JWT issuer, telemetry export and a page store.
//!
//! HTTP/1.1, one request per connection, TLS by rustls with the system's root certificates.
//! Redirects and proxies are not supported.

use std::pin::pin;
use std::sync::{Arc, OnceLock};

use axum::http::uri::Scheme;
use axum::http::{HeaderValue, Request, Response, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An error message without the address, which may contain a secret.
type Failure = String;

/// Sends a request and reads the whole response, at most `most` bytes. The caller sets the timeout.
pub(crate) async fn ask(
    mut request: Request<Bytes>,
    most: usize,
) -> Result<Response<Bytes>, Failure> {
    let uri = request.uri().clone();
    let host = uri.host().ok_or_else(|| Failure::from("the address names no host"))?.to_owned();
    let is_secure = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return Err(Failure::from("only http and https are spoken")),
    };
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    // As S3 signs it: in lower case, and without the port that the scheme implies.
    let port_named = uri.port_u16().filter(|port| *port != if is_secure { 443 } else { 80 });
    let named = port_named.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let named = HeaderValue::from_str(&named.to_ascii_lowercase());
    let named = named.map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, named);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|error| error.to_string())?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream =
        TcpStream::connect((bare, port)).await.map_err(|error| format!("connecting: {error}"))?;
    if !is_secure {
        return speak(stream, request, most).await;
    }
    let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(trusted()?).connect(name, stream).await;
    speak(stream.map_err(|error| format!("TLS: {error}"))?, request, most).await
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    request: Request<Bytes>,
    most: usize,
) -> Result<Response<Bytes>, Failure> {
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(words)?;
    let mut exchange = pin!(async {
        let answer = sender.send_request(request.map(Full::new)).await.map_err(words)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, most).collect().await.map_err(|error| error.to_string())?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    });
    let mut connection = pin!(connection);
    tokio::select! {
        done = &mut exchange => done,
        // The connection is closed; what it received is still read.
        _ = &mut connection => exchange.await,
    }
}

/// TLS configuration with the system's root certificates.
fn trusted() -> Result<Arc<ClientConfig>, Failure> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, Failure>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let (good, _) =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if good == 0 {
                return Err(Failure::from("this machine has no root certificates"));
            }
            let ring = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(ring)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?;
            Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
        })
        .clone()
}
