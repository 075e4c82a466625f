//! A whole client on half-open networks and behind proxies: each request ends, and writes are sent
//! again.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rejoin_core::{Error, SyncFault};
use rejoin_tests::{Backend, Door, Flow, PlainBackend, Proxy};
use tokio::time::Instant;

use crate::client::{Phone, Served};

const SECOND: Duration = Duration::from_secs(1);

/// A device behind a proxy, with this deadline for requests.
fn phone_behind_proxy(url: &str, deadline: Duration) -> (Proxy, Phone) {
    let proxy = Proxy::before(url);
    let phone = Phone::with("ana", Some(&proxy.url), |config| config.ack_deadline = deadline);
    (proxy, phone)
}

/// Runs the next attempt, which fails; returns its duration.
#[track_caller]
fn attempt(phone: &Phone) -> Duration {
    let begun = Instant::now();
    let outcome = phone.client.sync().run(Some(20 * SECOND)).wait();
    assert!(matches!(outcome, Err(Error::Sync(SyncFault::Offline(_)))), "{outcome:?}");
    begun.elapsed()
}

#[test]
fn request_on_silent_network_ends_within_its_deadline() {
    let backend = Backend::new();
    let served = Served::new(&backend);
    let (proxy, phone) = phone_behind_proxy(&served.url, SECOND);
    phone.sync();
    let flows = [Flow::NothingUp, Flow::NothingDown, Flow::HeadOnly, Flow::Drip];
    for (number, flow) in flows.into_iter().enumerate() {
        phone.client.stop().wait().unwrap();
        proxy.set(flow.clone());
        phone.run(&format!("INSERT INTO places (id, name) VALUES ('p{number}', 'new')"));
        let took = attempt(&phone);
        assert!((SECOND / 2..4 * SECOND).contains(&took), "{flow:?}: {took:?}");
        // Open connections stay dead; new ones work.
        proxy.set(Flow::Whole);
        let begun = Instant::now();
        phone.sync();
        assert!(begun.elapsed() < 4 * SECOND, "{flow:?}: {:?}", begun.elapsed());
        let counts = phone.client.queue().counts().wait().unwrap();
        assert_eq!((counts.pending, counts.uncertain, counts.parked), (0, 0, 0), "{flow:?}");
    }
    assert_eq!(backend.see("SELECT count(*) FROM places"), "4", "each write once");
}

/// The engine stays open between the two sessions.
#[test]
fn push_in_flight_at_stop_is_sent_again_after_start() {
    let backend = Backend::new();
    let served = Served::new(&backend);
    for flow in [Flow::NothingUp, Flow::NothingDown] {
        let (proxy, phone) = phone_behind_proxy(&served.url, 30 * SECOND);
        phone.sync();
        proxy.set(flow.clone());
        let before = proxy.requests();
        phone.run("INSERT INTO places (id, name) VALUES (rejoin_new_id(), 'new')");
        phone.client.sync().request().unwrap();
        while phone.client.queue().counts().wait().unwrap().sent == 0 || proxy.requests() == before
        {
            std::thread::yield_now();
        }
        phone.client.stop().wait().unwrap();
        proxy.set(Flow::Whole);
        phone.sync();
        let counts = phone.client.queue().counts().wait().unwrap();
        assert_eq!((counts.pending, counts.sent, counts.uncertain), (0, 0, 0), "{flow:?}");
    }
    assert_eq!(backend.see("SELECT count(*) FROM places"), "2", "each write once");
}

/// A pull has a longer total time than a push, but a silence within it ends it just as soon.
#[test]
fn silence_within_a_pull_ends_it_early() {
    let backend = Backend::new();
    let served = Served::new(&backend);
    let (proxy, phone) = phone_behind_proxy(&served.url, SECOND);
    phone.sync();
    for flow in [Flow::HeadOnly, Flow::NothingDown] {
        proxy.set(flow.clone());
        // Nothing was written and the device is registered: the pass begins with its pull.
        let took = attempt(&phone);
        assert!(took < 3 * SECOND, "{flow:?}: {took:?}");
        proxy.set(Flow::Whole);
        phone.sync();
    }
}

/// Responses of a proxy, as bytes.
fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&br#"{"schema_version":1,"accepted":[]}"#.repeat(20)).unwrap();
    let zipped = encoder.finish().unwrap();
    let half = &zipped[..zipped.len() / 2];
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let gzip = format!("{head}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n", half.len());
    let no_gzip = format!("{head}content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{{}}");
    let plain = |text: &str| text.as_bytes().to_vec();
    let page = |status: &str| {
        let body = "<html>Please sign in</html>";
        let length = body.len();
        plain(&format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    };
    vec![
        ("truncated gzip", [gzip.as_bytes(), half].concat()),
        ("no gzip at all", plain(&no_gzip)),
        ("a cut chunk", plain(&format!("{head}transfer-encoding: chunked\r\n\r\nff\r\n{{\"a"))),
        ("a cut body", plain(&format!("{head}content-length: 900\r\n\r\n{{\"accepted\":["))),
        ("no HTTP", plain("SSH-2.0-OpenSSH_9.2\r\n")),
        ("nothing", Vec::new()),
        ("a page", page("200 OK")),
        (
            "a redirect",
            plain("HTTP/1.1 302 Found\r\nlocation: http://portal/\r\ncontent-length: 0\r\n\r\n"),
        ),
        ("no route", page("404 Not Found")),
        ("too large", page("413 Request Entity Too Large")),
        ("sign in", page("401 Unauthorized")),
        ("upgrade", plain("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n")),
        ("bad gateway", page("502 Bad Gateway")),
        ("network sign-in", page("511 Network Authentication Required")),
    ]
}

#[test]
fn proxy_responses_park_nothing_on_either_wire() {
    let backend = Backend::new();
    let served = Served::new(&backend);
    let door = Door::before(PlainBackend::new());
    for url in [&served.url, &door.url] {
        // The proxy is never silent: only a loaded machine needs the time.
        let (proxy, phone) = phone_behind_proxy(url, 15 * SECOND);
        phone.sync();
        let mut expected = Vec::new();
        for (number, (name, answer)) in answers().into_iter().enumerate() {
            proxy.set(Flow::Answer(answer));
            phone.run(&format!("INSERT INTO places (id, name) VALUES ('p{number:02}', 'new')"));
            for _ in 0..4 {
                attempt(&phone);
            }
            let counts = phone.client.queue().counts().wait().unwrap();
            assert_eq!(counts.parked, 0, "{name}");
            proxy.set(Flow::Whole);
            // The device may not have noticed yet that the proxy closed its last connection.
            let _ = phone.client.sync().run(Some(20 * SECOND)).wait();
            phone.sync();
            let counts = phone.client.queue().counts().wait().unwrap();
            assert_eq!((counts.pending, counts.uncertain, counts.parked), (0, 0, 0), "{name}");
            expected.push(format!("p{number:02}=new"));
            assert_eq!(phone.names(), expected.join(" "), "{name}");
        }
        assert!(proxy.requests() < 14 * 4 * 12, "{} pieces were sent", proxy.requests());
    }
    assert_eq!(backend.see("SELECT count(*) FROM places"), "14");
    assert_eq!(door.plain(|plain| plain.see("places", &["id"])).split(' ').count(), 14);
}
