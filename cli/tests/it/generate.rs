//! The generated code is the committed one, and the Rust file works on a client. The other languages' tests compile and use theirs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::JoinHandle;

use rejoin_core::{Client, Config, Error, StreamParameters, block_on};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
#[path = "../generated/rejoin_schema.rs"]
mod rejoin_schema;

use rejoin_schema::{PlacesRow, subscribe_everything, subscribe_harbour_2, take_part};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn generate(language: &str, arguments: &[&str]) -> Output {
    let tests = repository().join("cli/tests");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    command.current_dir(tests).args(["generate", "--lang", language]);
    command.args(arguments).output().unwrap()
}

/// Where each language's tests have the file.
const FOLDERS: [(&str, &str); 4] = [
    ("rust", "cli/tests/generated"),
    ("kotlin", "kotlin/rejoin/src/test/kotlin/app/schema"),
    ("swift", "swift/Tests/RejoinTests"),
    ("typescript", "react-native/test/generated"),
];

#[test]
fn committed_files_are_the_generated_ones() {
    for (language, folder) in FOLDERS {
        let out = repository().join(folder);
        let out = out.to_str().unwrap();
        let actions = ["--action", "take_part.json", "--action", "reset_all.json"];
        let mut arguments = vec!["--schema", "schema.json", "--check", "--out", out];
        arguments.extend(actions);
        let output = generate(language, &arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{language}: {error}\nrepeat without --check");
    }
}

#[test]
fn rust_file_is_as_rustfmt_writes_it() {
    let file = repository().join("cli/tests/generated/rejoin_schema.rs");
    let output = Command::new("rustfmt")
        .args(["--check", "--edition", "2024", "--config-path", "/dev/null"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn check_fails_for_a_file_that_differs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let arguments = ["--schema", "schema.json", "--out", out];
    let check = || generate("swift", &[&arguments[..], &["--check"]].concat());
    assert!(String::from_utf8_lossy(&check().stderr).contains("differs from the schema"));
    assert!(generate("swift", &arguments).status.success());
    assert!(check().status.success());
}

#[test]
fn unknown_type_is_an_error_that_names_the_column() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(repository().join("cli/tests/schema.json")).unwrap();
    let path = folder.path().join("schema.json");
    std::fs::write(&path, text.replace("\"bytes\"", "\"shape\"")).unwrap();
    let output = generate("rust", &["--schema", path.to_str().unwrap(), "--out", "."]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("places.photo: unknown type \"shape\""), "{error}");
}

#[test]
fn bad_stream_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("schema.json");
    let text = std::fs::read_to_string(repository().join("cli/tests/schema.json")).unwrap();
    let edits = [
        (
            "\"integer\"\n     }",
            "\"date\"\n     }",
            "harbour-2: the parameter ttl has the unknown type",
        ),
        ("\"everything\"", "\"!!\"", "stream \"!!\" has no letter or digit"),
        ("\"everything\"", "\"harbour 2\"", "both become subscribe_harbour_2: rename one"),
        ("\"everything\"", "\"a\\nb\"", "has a control character"),
    ];
    for (from, to, expected) in edits {
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let output = generate("rust", &["--schema", path.to_str().unwrap(), "--out", "."]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expected), "{expected}: {error}");
    }
}

/// In one scope, a table or an action can have the name of a stream's function.
#[test]
fn function_of_a_stream_has_a_name_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("action.json"), folder.path().to_str().unwrap());
    std::fs::write(&path, "{\"name\": \"subscribe_everything\"}").unwrap();
    let arguments = ["--schema", "schema.json", "--action", path.to_str().unwrap(), "--out", out];
    for (language, is_one_scope) in
        [("rust", true), ("typescript", true), ("kotlin", false), ("swift", false)]
    {
        let output = generate(language, &arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), !is_one_scope, "{language}: {error}");
        assert_eq!(error.contains("rename one"), is_one_scope, "{language}: {error}");
    }
}

/// Answers one request with this status and body; returns the address and the request.
fn serve_once(status: &'static str, body: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    #[allow(clippy::disallowed_methods)] // A server that answers one request.
    let request = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(line) = lines.next().map(Result::unwrap).filter(|line| !line.is_empty()) {
            request += &(line.to_lowercase() + "\n");
        }
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all((head + &body).as_bytes()).unwrap();
        request
    });
    (address, request)
}

#[test]
fn schema_of_a_server_is_fetched_with_headers() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let schema = std::fs::read_to_string(repository().join("cli/tests/schema.json")).unwrap();
    let (address, request) = serve_once("200 OK", schema);
    let header = "Authorization: Bearer abc";
    let arguments = ["--schema", &address, "--header", header, "--out", out];
    let output = generate("swift", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let request = request.join().unwrap();
    assert!(request.starts_with("get /sync/schema "), "{request}");
    assert!(request.contains("authorization: bearer abc"), "{request}");
    assert!(request.contains("rejoin-protocol: 1"), "the extensions name the owner: {request}");

    let (address, request) = serve_once("401 Unauthorized", String::from("no token"));
    let output = generate("swift", &["--schema", &address, "--out", out]);
    request.join().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("answered 401: no token") && error.contains("--header"), "{error}");
}

#[test]
fn bad_input_names_the_file_or_the_option() {
    let cases = [
        (vec!["--schema", "missing.json"], "missing.json cannot be read"),
        (vec!["--schema", "take_part.json"], "take_part.json: expected the JSON of /sync/schema"),
        (vec!["--schema", "schema.json", "--action", "schema.json"], "expected a declared action"),
        (vec!["--schema", "http://127.0.0.1:9", "--header", "x"], "--header \"x\": expected NAME"),
        (vec!["--schema", "http://127.0.0.1:9"], "cannot be reached: check the address"),
    ];
    for (arguments, expected) in cases {
        let output = generate("rust", &[&arguments[..], &["--out", "."]].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expected), "{expected}: {error}");
    }
}

fn place() -> PlacesRow {
    PlacesRow {
        id: "p1".into(),
        name: "Quay".into(),
        class: Some("harbour".into()),
        first_name: None,
        _2nd: Some(2),
        in_: true,
        open: Some(false),
        height: 1.5,
        price: Some("12.50".into()),
        visits: i64::MAX,
        photo: Some(vec![0, 255]),
        seen_at: None,
        day: None,
        at: None,
        tags: None,
        extra: None,
        cost: None,
        owner_id: None,
        updated_at: None,
        deleted_at: None,
    }
}

#[test]
fn rust_row_is_written_read_changed_and_deleted() -> Result<(), Error> {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let schema = serde_json::from_str(include_str!("../schema.json")).unwrap();
        let config = Config::new(folder.path().join("places.db")).schema(schema);
        let client = Client::open(config).await?;
        let read = async || client.query("SELECT * FROM places", ()).await?.decode::<PlacesRow>();

        let (sql, values) = place().insert();
        client.execute(sql, values).await?;
        let mut rows = read().await?;
        assert_eq!(rows, [place()]);

        rows[0].name = "Pier".into();
        let (sql, values) = rows[0].update();
        assert_eq!(client.execute(sql, values).await?, 1);
        assert_eq!(read().await?, rows);

        let (sql, values) = PlacesRow::delete("p1");
        assert_eq!(client.execute(sql, values).await?, 1);
        assert_eq!(read().await?, []);

        let harbour = subscribe_harbour_2(&client, "fishing", i64::MIN).priority(1).await?;
        let everything = subscribe_everything(&client).await?;
        let subscriptions = client.sync().subscriptions();
        let found: Vec<_> =
            subscriptions.iter().map(|one| (&*one.stream, &one.parameters, one.priority)).collect();
        let least = i64::MIN.to_string();
        let parameters = StreamParameters::from([("class", "fishing"), ("ttl", &*least)]);
        let none = StreamParameters::default();
        assert_eq!(found, [("harbour-2", &parameters, 1), ("everything", &none, 3)]);
        drop((harbour, everything));

        // The call compiles; the client has no such action.
        let error = take_part(&client, "p1", 1, None, None, None).await.unwrap_err();
        assert!(error.to_string().contains("take_part"), "{error}");
        client.shutdown().await
    })
}
