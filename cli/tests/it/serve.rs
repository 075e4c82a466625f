//! `inspect --serve` as a browser uses it: the token, the checks of a request, and files that change.

use std::path::Path;

use rejoin_core::{Client, Config, block_on};
use tempfile::TempDir;

use crate::served::serve;
use crate::{SCHEMA, inspect};

/// The file of an app that has run these statements.
fn app(file: &Path, schema: &str, sql: &[&str]) {
    let config = Config::new(file).schema(serde_json::from_str(schema).unwrap());
    let client = block_on(Client::open(config)).unwrap();
    for sql in sql {
        block_on(client.execute(sql, ())).unwrap();
    }
    block_on(client.shutdown()).unwrap();
}

const TASK: &str = "INSERT INTO task (id, title) VALUES ('a', 'buy milk')";

#[test]
fn token_works_once_and_gives_a_cookie() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("app.db");
    app(&file, SCHEMA, &[TASK]);
    let served = serve(&file);
    let host = served.host();

    let wrong = "/?token=00000000000000000000000000000000";
    for path in
        ["/", wrong, "/?token=", "/inspection.json", &format!("/page.js{}", &served.path[1..])]
    {
        let refused = served.send("GET", path, &[&host]);
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.body.contains("open the URL") && !refused.head.contains("set-cookie"));
    }
    let page = served.send("GET", &served.path, &[&host]);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Read-only") && page.body.contains("/page.js"), "{}", page.body);
    let cookie = page.head.lines().find(|line| line.starts_with("set-cookie: ")).unwrap();
    assert!(cookie.ends_with("; httponly; samesite=strict; path=/"), "{cookie}");
    let secret = cookie.split(['=', ';']).nth(1).unwrap();
    assert!(!served.path.contains(secret), "the URL has the cookie");

    let again = served.send("GET", &served.path, &[&host]);
    assert_eq!(again.status, 403);
    assert!(again.body.contains("start `rejoin inspect --serve` again"), "{}", again.body);
    let name = format!("Cookie: rejoin_inspect_{}", served.port);
    let guess = format!("{name}=00000000000000000000000000000000");
    assert_eq!(served.send("GET", "/inspection.json", &[&host, &guess]).status, 403);
    let cookie = format!("{name}={secret}");
    for path in ["/", "/page.js", "/page.css", "/inspection.json", &served.path] {
        assert_eq!(served.send("GET", path, &[&host, &cookie]).status, 200, "{path}");
    }
    assert_eq!(served.send("GET", "/app.db", &[&host, &cookie]).status, 404);
}

#[test]
fn request_of_another_site_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("app.db");
    app(&file, SCHEMA, &[TASK]);
    let served = serve(&file);
    let cookie = served.open();
    let own = format!("Host: localhost:{}", served.port);
    let response =
        served.send("GET", "/inspection.json", &[&own, &cookie, "Origin: http://evil.test"]);
    assert_eq!(response.status, 200);
    assert!(!response.head.contains("access-control"), "{}", response.head);
    for host in ["evil.test", "127.0.0.1", "127.0.0.1.evil.test", "127.0.0.1:1"] {
        let host = format!("Host: {host}");
        let refused = served.send("GET", "/inspection.json", &[&host, &cookie]);
        assert_eq!((refused.status, refused.body.contains("milk")), (403, false), "{host}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"] {
        let refused = served.send(method, "/inspection.json", &[&own, &cookie]);
        assert_eq!(refused.status, 405, "{method}");
    }
    let refused = served.send("GET", "/", &[&own]);
    for head in [&response.head, &refused.head, &served.send("GET", "/", &[&own, &cookie]).head] {
        for expected in [
            "cache-control: no-store",
            "content-security-policy: default-src 'none'; script-src 'self'; ",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(expected), "{expected} is not in\n{head}");
        }
    }
}

#[test]
fn file_that_cannot_be_read_is_an_error_before_and_while_serving() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("app.db");
    let missing = inspect(&file, &["--serve"]);
    let message = String::from_utf8(missing.stderr).unwrap();
    assert!(!missing.status.success() && message.contains("unable to open"), "{message}");
    assert!(missing.stdout.is_empty() && !file.exists());

    app(&file, SCHEMA, &[TASK]);
    let served = serve(&file);
    let cookie = served.open();
    let pending = |expected: u64| {
        let (status, found) = served.json(&cookie);
        assert_eq!((status, &found["counts"]["pending"]), (200, &expected.into()), "{found}");
    };
    pending(1);
    let failed = |expected: &str| {
        let (status, found) = served.json(&cookie);
        assert_eq!(status, 500, "{found}");
        let error = found["error"].as_str().unwrap();
        assert!(error.contains("app.db cannot be read: ") && error.contains(expected), "{error}");
    };
    std::fs::remove_file(&file).unwrap();
    failed("unable to open");
    assert!(!file.exists(), "the file was created");
    std::fs::write(&file, "no database, but longer than a header. ".repeat(20)).unwrap();
    failed("not a database");
    std::fs::remove_file(&file).unwrap();
    app(&file, SCHEMA, &[TASK, "UPDATE task SET title = 'buy oats'"]);
    pending(2);
}

#[test]
fn used_port_and_contradictory_options_are_errors() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("app.db");
    app(&file, SCHEMA, &[]);
    let served = serve(&file);
    let port = served.port.to_string();
    for (options, expected) in [
        (&["--serve", "--port", &port][..], "choose another one"),
        (&["--serve", "--json"], "cannot be used with"),
        (&["--port", &port], "--serve"),
    ] {
        let output = inspect(&file, options);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && message.contains(expected), "{message}");
    }
}

#[test]
fn names_and_values_with_markup_are_only_in_the_json() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("app.db");
    let schema = SCHEMA.replace("\"title\"", "\"<img src=x>\"");
    app(&file, &schema, &["INSERT INTO task VALUES ('a', '</script><b>', NULL)"]);
    let served = serve(&file);
    let cookie = served.open();
    let (_, found) = served.json(&cookie);
    let columns = &found["queue"][0]["rows"][0]["columns"];
    assert_eq!(columns["<img src=x>"]["new"], "</script><b>", "{found}");
    let page = served.send("GET", "/", &[&served.host(), &cookie]);
    assert!(!page.body.contains("src=x"), "{}", page.body);
}
