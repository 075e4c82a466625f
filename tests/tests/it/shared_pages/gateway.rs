//! Gateways between a device and its server that let shared pages pass late, or never.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rejoin_core::Services;
use rejoin_core::sync::rows::digest;
use rejoin_core::sync::session::{Request, Response};
use rejoin_core::transport::{
    EventStream, HttpRequest, HttpResponse, HttpTransport, Transport, TransportError,
};
use rejoin_protocol::wire::path;
use rejoin_tests::{Backend, Peer, Store};
use serde_json::Value;

use super::{countries, limit, response, with_rows};
use crate::client::{PATIENCE, Phone, Served};

/// A gateway that refuses shared pages, requests for more than this number of rows, and responses with more than the
/// second.
struct LimitedGateway<'a>(&'a Backend, i64, usize);

impl Peer for LimitedGateway<'_> {
    fn exchange(&self, user: &str, request: &Request) -> Option<Response> {
        if request.path.starts_with(path::PAGES) {
            return Some(response(404, r#"{"error":"no route"}"#));
        }
        let refused = Some(response(500, r#"{"error":"too much"}"#));
        if request.path == path::SNAPSHOT && limit(request) > self.1 {
            return refused;
        }
        let answer = self.0.exchange(user, request)?;
        if request.path == path::SNAPSHOT && rows_of(&answer) > self.2 {
            return refused;
        }
        Some(Response { took: Duration::ZERO, ..answer })
    }
}

/// The number of rows in a page.
fn rows_of(page: &Response) -> usize {
    let body: Value = serde_json::from_slice(&page.body).unwrap();
    let sets = body["rejoin"]["sets"].as_array().into_iter().flatten();
    sets.map(|set| set["rows"].as_array().map_or(0, Vec::len)).sum()
}

#[test]
fn first_sync_passes_a_gateway_that_refuses_shared_and_large_pages() {
    // Of shared tables before and after the other one.
    for (shared, requested, responded) in [("countries", 200, 10_000), ("regions", 10_000, 400)] {
        let (server, mut device) = with_rows(shared, 1_500, 300, 10_000);
        device.reconfigure(|config| config.page_size = 1_000);
        let narrow = LimitedGateway(&server, requested, responded);
        let passes = (0..50).take_while(|_| device.pass(&narrow).is_err()).count();
        assert!(passes < 40, "{passes} passes failed with {shared}");
        let theirs = [shared, "places"].map(|table| server.digest("ana", table));
        assert_eq!(
            [shared, "places"].map(|table| digest::digest(device.engine(), table).unwrap()),
            theirs
        );
    }
}

/// Answers the requests of shared pages as a gateway that does not know them, or is not reached by them.
#[derive(Debug)]
struct Gateway {
    inner: HttpTransport,
    /// `None`: they are not sent.
    status: Option<u16>,
    is_open: Arc<AtomicBool>,
    passed: Arc<AtomicUsize>,
}

impl Transport for Gateway {
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        let is_page = request.path.starts_with(path::PAGES);
        if !is_page || self.is_open.load(Relaxed) {
            self.passed.fetch_add(usize::from(is_page), Relaxed);
            return self.inner.send(request);
        }
        let Some(status) = self.status else {
            return async { Err(TransportError::Unreachable("by the test".to_owned())) }.boxed();
        };
        let headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        let body = "<html>an app</html>".into();
        let answer = HttpResponse { status, headers, body };
        async { Ok(answer) }.boxed()
    }

    fn events(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        self.inner.events(request)
    }
}

/// Ana's phone behind a gateway, what opens the gateway, and the number of shared pages that pass it.
fn behind_gateway(
    backend: &Backend,
    status: Option<u16>,
) -> (Served, Phone, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let served = Served::new(backend);
    let inner = HttpTransport::new(&served.url, 1 << 26).unwrap();
    let (is_open, passed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let gateway =
        Gateway { inner, status, is_open: Arc::clone(&is_open), passed: Arc::clone(&passed) };
    let services = Services { transport: Some(Arc::new(gateway)), ..Services::default() };
    let phone = Phone::with_services("ana", Some(&served.url), services, |_| ());
    (served, phone, is_open, passed)
}

#[test]
fn first_sync_of_an_app_passes_a_gateway_that_answers_with_a_page() {
    for status in [200, 302] {
        let (backend, _) = countries(Store::Sqlite);
        let (_served, phone, ..) = behind_gateway(&backend, Some(status));
        assert_eq!(phone.sync().pulled, 10, "{status}");
    }
}

#[test]
fn passes_without_a_network_do_not_end_shared_pages() {
    let (backend, _) = countries(Store::Sqlite);
    let (_served, phone, is_open, passed) = behind_gateway(&backend, None);
    for _ in 0..4 {
        phone.client.sync().run(Some(PATIENCE)).wait().unwrap_err();
    }
    is_open.store(true, Relaxed);
    phone.sync();
    assert_eq!(passed.load(Relaxed), 3);
}
