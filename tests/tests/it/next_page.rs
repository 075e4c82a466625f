//! The next page of a snapshot is requested while the last one arrives, and its response is dropped if
//! something else comes first.

use std::sync::{Arc, Mutex, mpsc};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rejoin_core::host::TestHost;
use rejoin_core::transport::{
    EventStream, HttpRequest, HttpResponse, HttpTransport, OnHeaders, Transport, TransportError,
};
use rejoin_core::{FirstSync, Services};
use rejoin_tests::{Backend, Store};
use tokio::sync::Semaphore;

use crate::client::{PATIENCE, Phone, Served};

/// Reports each request, and holds the response to the second page until it is released. The third may
/// be lost.
#[derive(Debug)]
struct Held {
    inner: HttpTransport,
    begun: Mutex<(mpsc::Sender<String>, usize)>,
    second: Arc<Semaphore>,
    loses_third: bool,
}

impl Transport for Held {
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        self.send_with(request, Box::new(|_| ()))
    }

    fn send_with(
        &self,
        request: HttpRequest,
        on_headers: OnHeaders,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        let (path, is_page) = (request.path.clone(), request.path.ends_with("snapshot"));
        let mut begun = self.begun.lock().unwrap();
        begun.1 += usize::from(is_page);
        let page = if is_page { begun.1 } else { 0 };
        begun.0.send(path).unwrap();
        if page == 3 && self.loses_third {
            return async { Err(TransportError::Lost("by the test".to_owned())) }.boxed();
        }
        let (answer, held) = (self.inner.send_with(request, on_headers), self.second.clone());
        async move {
            let answer = answer.await?;
            if page == 2 {
                held.acquire().await.unwrap().forget();
            }
            Ok(answer)
        }
        .boxed()
    }

    fn events(
        &self,
        _request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        async { Err(TransportError::Status { status: 404, retry_after: None }) }.boxed()
    }
}

/// Ana's phone before the first sync of 600 places, the paths of its requests, and what releases its
/// second page.
fn phone(
    store: Store,
    loses_third: bool,
) -> (Backend, Served, Phone, mpsc::Receiver<String>, Arc<Semaphore>) {
    // Names in headers are ASCII, keys need not be.
    let rows: Vec<String> = (0..600).map(|at| format!("('\u{f6}{at:03}', 'x', 'ana')")).collect();
    let sql = format!("INSERT INTO places (id, name, user_id) VALUES {}", rows.join(", "));
    let backend = Backend::over(store, &sql);
    let served = Served::new(&backend);
    let (sender, requests) = mpsc::channel();
    let second = Arc::new(Semaphore::new(0));
    let transport = Held {
        inner: HttpTransport::new(&served.url, 1 << 26).unwrap(),
        begun: Mutex::new((sender, 0)),
        second: Arc::clone(&second),
        loses_third,
    };
    // By this clock every page is quick.
    let services = Services {
        host: Some(Arc::new(TestHost::new(1))),
        transport: Some(Arc::new(transport)),
        ..Services::default()
    };
    let phone = Phone::with_services("ana", Some(&served.url), services, |config| {
        config.page_size = 100;
    });
    phone.client.start().unwrap();
    (backend, served, phone, requests, second)
}

/// The requests up to the page with this number, without those for page and schema.
fn until_page(requests: &mpsc::Receiver<String>, mut page: usize) -> String {
    let mut seen = Vec::new();
    while page > 0 {
        let path = requests.recv_timeout(PATIENCE).expect("the page is requested");
        page -= usize::from(path.ends_with("snapshot"));
        seen.push(path.rsplit('/').next().unwrap().to_owned());
    }
    seen.join(" ")
}

fn all(phone: &Phone) -> i64 {
    let rows = phone.client.query("SELECT count(*) AS n FROM places", ()).wait().unwrap();
    rows.iter().next().unwrap().get("n").unwrap()
}

#[test]
fn next_page_is_requested_before_the_last_one_has_arrived() {
    let (_backend, _served, phone, requests, second) = phone(Store::Sqlite, false);
    // The third page is requested although the second one has not arrived.
    assert_eq!(until_page(&requests, 3), "register schema snapshot snapshot snapshot");
    assert!(all(&phone) <= 100);
    second.add_permits(1);
    phone.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    assert_eq!((all(&phone), phone.client.status().first_sync), (600, FirstSync::Done));
    let rest: Vec<String> = requests.try_iter().collect();
    assert!(rest.iter().all(|path| path.ends_with("pull")), "no page came twice: {rest:?}");
}

#[test]
fn lost_early_request_is_repeated_in_the_same_pass() {
    let (_backend, _served, phone, requests, second) = phone(Store::Sqlite, true);
    until_page(&requests, 3);
    second.add_permits(1);
    assert_eq!(until_page(&requests, 1), "snapshot");
    phone.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    assert_eq!(all(&phone), 600);
    let rest: Vec<String> = requests.try_iter().collect();
    assert!(rest.iter().all(|path| path.ends_with("pull")), "no pass has failed: {rest:?}");
}

#[test]
fn write_while_the_next_page_is_under_way_is_pushed_before_it() {
    let (backend, _served, phone, requests, second) = phone(Store::Sqlite, false);
    until_page(&requests, 3);
    phone.run("INSERT INTO places (id, name) VALUES ('\u{f6}599a', 'mine')");
    second.add_permits(1);
    phone.client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    assert_eq!(until_page(&requests, 1), "push snapshot", "the third page is requested again");
    assert_eq!(all(&phone), 601);
    assert_eq!(backend.see("SELECT count(*) FROM places"), "601");
}
