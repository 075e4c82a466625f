//! HTTP/1.1 client for the scenarios. It opens one connection per request, so that a dropped
//! connection affects no other request, and records every exchange.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// Response timeout.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A request and its response, without the credentials.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) sent: String,
    /// 0 if there was no response.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The response body, or the error if there was no response.
    pub(crate) received: String,
}

impl Exchange {
    /// The response as JSON; null if it is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.received).unwrap_or(Value::Null)
    }

    /// A header of the response.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// Connection settings of one server.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    /// `host:port`.
    authority: String,
    /// Prefix of every path.
    base: String,
}

impl Client {
    /// A client of the server at this address.
    pub(crate) fn to(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("--url {url}"))?;
        let is_http = uri.scheme_str() == Some("http");
        anyhow::ensure!(
            is_http,
            "--url {url}: expected http://host:port; for TLS, connect behind the TLS proxy"
        );
        let host = uri.host().with_context(|| format!("--url {url}: no host in the URL"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            runtime,
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Sends requests concurrently and returns the responses in the same order.
    pub(crate) fn send(&self, asks: &[Ask]) -> Vec<Exchange> {
        self.runtime.block_on(join_all(asks.iter().map(|ask| self.exchange(ask))))
    }

    async fn exchange(&self, ask: &Ask) -> Exchange {
        let mut exchange = Exchange {
            method: ask.method.to_owned(),
            path: ask.path.clone(),
            sent: ask.body.clone(),
            status: 0,
            headers: Vec::new(),
            received: String::new(),
        };
        let answered = tokio::time::timeout(TIMEOUT, self.answer(ask)).await;
        match answered.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {TIMEOUT:?}"))) {
            Ok((status, headers, body)) => {
                exchange.status = status;
                exchange.headers = headers;
                exchange.received = String::from_utf8_lossy(&body).into_owned();
            }
            Err(error) => exchange.received = format!("no answer: {error:#}"),
        }
        exchange
    }

    async fn answer(&self, ask: &Ask) -> anyhow::Result<(u16, Vec<(String, String)>, Bytes)> {
        let stream = tokio::net::TcpStream::connect(&self.authority)
            .await
            .with_context(|| self.authority.clone())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder()
            .method(Method::from_bytes(ask.method.as_bytes())?)
            .uri(format!("{}{}", self.base, ask.path))
            .header("host", &self.authority)
            .header("connection", "close")
            .header("accept", "application/json");
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if !ask.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(Bytes::from(ask.body.clone())))?;
        let answering = async {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            anyhow::Ok((parts, body.collect().await?.to_bytes()))
        };
        // The connection makes progress only while it is polled. Either future may finish first.
        tokio::pin!(answering);
        let answered = tokio::select! {
            answered = &mut answering => answered,
            ended = connection => {
                ended?;
                answering.await
            }
        };
        let (parts, body) = answered?;
        let text = |value: &hyper::header::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let headers =
            parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok((parts.status.as_u16(), headers, body))
    }
}
