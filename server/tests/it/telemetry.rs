//! The binary exports metrics and traces to a collector: the expected values, and no private data.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use crate::ending::{Running, TASKS, answer, events, push};
use rejoin_postgres::Database;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The data received by the collector.
#[derive(Default)]
struct Collected {
    metrics: Vec<ExportMetricsServiceRequest>,
    traces: Vec<ExportTraceServiceRequest>,
    headers: BTreeSet<String>,
}

/// A collector of OTLP over HTTP; returns its address.
fn collector() -> (String, Arc<Mutex<Collected>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let collected = Arc::new(Mutex::new(Collected::default()));
    let kept = Arc::clone(&collected);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let lower = head.to_ascii_lowercase();
            let length = lower.split("content-length: ").nth(1).unwrap();
            let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let mut kept = kept.lock().unwrap();
            kept.headers.extend(lower.lines().map(String::from));
            match head.split(' ').nth(1).unwrap() {
                "/v1/metrics" => {
                    kept.metrics.push(ExportMetricsServiceRequest::decode(&*body).unwrap());
                }
                "/v1/traces" => {
                    kept.traces.push(ExportTraceServiceRequest::decode(&*body).unwrap());
                }
                other => panic!("{other} is no path of OTLP"),
            }
            drop(kept);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    (address, collected)
}

fn plain(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn named(attributes: &[KeyValue]) -> String {
    let mut words: Vec<String> =
        attributes.iter().map(|one| format!("{}={}", one.key, plain(one.value.as_ref()))).collect();
    words.sort();
    words.join(" ")
}

impl Collected {
    /// The latest number of each series: `name attributes`. For a histogram, its count.
    fn numbers(&self) -> BTreeMap<String, f64> {
        let mut found = BTreeMap::new();
        let scopes = self.metrics.iter().flat_map(|one| &one.resource_metrics);
        for metric in scopes.flat_map(|one| &one.scope_metrics).flat_map(|one| &one.metrics) {
            let points = match metric.data.as_ref().unwrap() {
                Data::Gauge(gauge) => &gauge.data_points,
                Data::Sum(sum) => &sum.data_points,
                Data::Histogram(histogram) => {
                    for point in &histogram.data_points {
                        let series = format!("{} {}", metric.name, named(&point.attributes));
                        assert!(point.sum.unwrap() > 0.0 && point.explicit_bounds.len() == 14);
                        #[allow(clippy::cast_precision_loss)] // A handful.
                        found.insert(series, point.count as f64);
                    }
                    continue;
                }
                other => panic!("{other:?}"),
            };
            for point in points {
                #[allow(clippy::cast_precision_loss)] // A handful.
                let number = match point.value.unwrap() {
                    Number::AsDouble(number) => number,
                    Number::AsInt(number) => number as f64,
                };
                let series = format!("{} {}", metric.name, named(&point.attributes));
                found.insert(series.trim_end().to_owned(), number);
            }
        }
        found
    }

    fn spans(&self) -> Vec<&Span> {
        let resources = self.traces.iter().flat_map(|one| &one.resource_spans);
        resources.flat_map(|one| &one.scope_spans).flat_map(|one| &one.spans).collect()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Runs a server through some of every activity until it ends; returns the collected data.
fn run_and_collect(settings: &str, folder: &std::path::Path) -> Arc<Mutex<Collected>> {
    let (address, collected) = collector();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address),
        ("OTEL_EXPORTER_OTLP_HEADERS", String::from("x-key=of-the-operator")),
        ("REJOIN_TELEMETRY_OTLP", String::from("true")),
    ];
    let mut server = Running::over(folder, settings, &variables);
    let push = push(&server);
    let _listening = events(&server);
    let traced =
        format!("POST /sync/push HTTP/1.1\r\ntraceparent: 00-{TRACE}-{CALLER}-01\r\nX-Ignored:");
    assert!(answer(server.send(&traced, &push.to_string())).0.starts_with("HTTP/1.1 200"));
    let mut ask = json!({
        "client_id": "c", "schema_version": push["schema_version"], "schema_hash": push["schema_hash"], "rejoin": {},
    });
    let (_, page) = answer(server.post("/sync/snapshot", &ask));
    ask["rejoin"] = json!({"cursor": page["rejoin"]["pull_cursor"], "recheck": [{"table_name": "tasks", "id": "t1"}]});
    assert!(answer(server.post("/sync/pull", &ask)).0.starts_with("HTTP/1.1 200"));
    let strange = "SEARCH /sync/of-anna";
    assert!(answer_head(&server, strange).starts_with("HTTP/1.1 404"));
    server.terminate();
    assert_eq!(server.ended(Duration::from_secs(30)).code(), Some(0));
    collected
}

fn answer_head(server: &Running, head: &str) -> String {
    let mut line = String::new();
    BufReader::new(server.send(head, "")).read_line(&mut line).unwrap();
    line
}

fn check(collected: &Collected) -> BTreeMap<String, f64> {
    let numbers = collected.numbers();
    let is = |series: &str, number: f64| {
        let found = numbers.get(series).copied().unwrap_or(-1.0);
        assert!((found - number).abs() < 1e-9, "{series} is {found}, not {number}: {numbers:#?}");
    };
    let route = |method: &str, route: &str, status: u16| {
        format!(
            "http.server.request.duration http.request.method={method} http.response.status_code={status} http.route={route}"
        )
    };
    is(&route("POST", "/sync/push", 200), 1.0);
    is(&route("POST", "/sync/pull", 200), 1.0);
    is(&route("GET", "/sync/events", 200), 1.0);
    is(&route("_OTHER", "other", 404), 1.0);
    is("rejoin.push.mutations verdict=accepted", 1.0);
    is("rejoin.limit.refusals limit=rejections_per_user", 0.0);
    is("rejoin.limit.refusals limit=log_entries_per_user", 0.0);
    is("rejoin.snapshot.rows", 1.0);
    is("rejoin.pull.rows", 1.0);
    assert!(numbers.contains_key("rejoin.compaction.entries"), "{numbers:#?}");
    assert!(numbers.contains_key("rejoin.devices.listening"), "{numbers:#?}");
    assert!(collected.headers.contains("x-key: of-the-operator"));

    let spans = collected.spans();
    let pushed: Vec<&&Span> = spans.iter().filter(|span| span.name == "POST /sync/push").collect();
    assert_eq!(pushed.len(), 1);
    assert_eq!(hexadecimal(&pushed[0].trace_id), TRACE);
    assert_eq!(hexadecimal(&pushed[0].parent_span_id), CALLER);
    let words = named(&pushed[0].attributes);
    assert!(words.contains("http.response.status_code=200"), "{words}");
    let work: Vec<&&Span> =
        spans.iter().filter(|span| span.parent_span_id == pushed[0].span_id).collect();
    assert_eq!(work.len(), 1);
    assert_eq!(
        (work[0].name.as_str(), hexadecimal(&work[0].trace_id).as_str()),
        ("push changes", TRACE)
    );
    assert!(spans.iter().all(|span| span.events.is_empty()), "what is logged stays in the log");

    let all = format!("{:?} {:?}", collected.metrics, collected.traces);
    assert!(all.contains("rejoin-server"));
    for secret in ["anna", "\"t1\"", "\"m1\"", "tasks", "owner_id", "app.db", "postgres"] {
        assert!(!all.contains(secret), "{secret} was handed out: {all}");
    }
    numbers
}

#[test]
fn exported_telemetry_contains_no_private_data() {
    let folder = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(folder.path().join("app.db")).unwrap().execute_batch(TASKS).unwrap();
    let collected = run_and_collect("database = \"app.db\"", folder.path());
    let numbers = check(&collected.lock().unwrap());
    assert!(!numbers.contains_key("rejoin.sequencer.lag"), "a file has none");
}

#[test]
fn postgres_sequencer_feeder_and_connections_are_exported() {
    let database = Database::new();
    database.session().run(TASKS);
    let folder = tempfile::tempdir().unwrap();
    let collected = run_and_collect(&format!("store = \"{}\"", database.url), folder.path());
    let numbers = check(&collected.lock().unwrap());
    for gauge in [
        "rejoin.sequencer.lag",
        "rejoin.sequencer.waiting",
        "rejoin.feeder.lag",
        "rejoin.feeder.waiting",
        "rejoin.pool.waits",
        "db.client.connection.count db.client.connection.state=used",
        "db.client.connection.count db.client.connection.state=idle",
    ] {
        assert!(numbers.contains_key(gauge), "{gauge}: {numbers:#?}");
    }
    assert!(numbers["rejoin.sequencer.lag"] > 0.0);
}

#[test]
fn unsupported_otlp_settings_are_reported_at_start() {
    let folder = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(folder.path().join("app.db")).unwrap().execute_batch(TASKS).unwrap();
    let text = "database = \"app.db\"\nauth = { header = \"X-User-ID\" }\ntelemetry = { otlp = true }\n\
        [[tables]]\nname = \"tasks\"\nowner_column = \"owner_id\"\n";
    std::fs::write(folder.path().join("rejoin.toml"), text).unwrap();
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_rejoin-server"))
            .arg("serve")
            .env(name, value)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && words.contains(name), "{words}");
    }
}
