//! The user of a file, by tokens: another user's token is detected before any mutation of the file
//! is sent with it.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rejoin_core::transport::{
    EventStream, HttpRequest, HttpResponse, HttpTransport, Transport, TransportError,
};
use rejoin_core::{
    Client, Config, Error, InputFault, Network, QueueFault, Services, TokenError, TokenProvider,
    Verdict, block_on,
};
use rejoin_tests::{Backend, Door, PlainBackend};
use tempfile::TempDir;

use crate::client::{PATIENCE, Served};

const SECRET: &str = "a secret of thirty-two bytes or more";

/// The app's sign-in: returns its current token.
#[derive(Debug)]
struct SignIn {
    token: Mutex<String>,
    /// The user that it reports for a token that only its issuer can read.
    user: Mutex<Option<String>>,
}

impl TokenProvider for SignIn {
    fn token(&self, _refresh: bool) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        let token = self.token.lock().unwrap().clone();
        async move { Ok(Some(token)) }.boxed()
    }

    fn subject(&self, _token: &str) -> BoxFuture<'static, Result<Option<String>, TokenError>> {
        let user = self.user.lock().unwrap().clone();
        async move { Ok(user) }.boxed()
    }
}

/// Records each request: path, and the user of its token.
#[derive(Debug)]
struct Recording {
    inner: HttpTransport,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Transport for Recording {
    fn send(
        &self,
        request: HttpRequest,
    ) -> BoxFuture<'static, Result<HttpResponse, TransportError>> {
        let who = subject(request.header("authorization").unwrap_or_default());
        self.requests.lock().unwrap().push(format!("{who} {}", &request.path["/sync/".len()..]));
        self.inner.send(request)
    }

    /// None, so that only the test starts a pass.
    fn events(
        &self,
        _request: HttpRequest,
    ) -> BoxFuture<'static, Result<EventStream, TransportError>> {
        async { Err(TransportError::Status { status: 404, retry_after: None }) }.boxed()
    }
}

fn subject(header: &str) -> String {
    let claims = header.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: serde_json::Value =
        claims.map_or_else(Default::default, |bytes| serde_json::from_slice(&bytes).unwrap());
    claims["sub"].as_str().unwrap_or("none").to_owned()
}

fn token(user: &str) -> String {
    use jsonwebtoken::{EncodingKey, Header, encode};
    let claims = serde_json::json!({"sub": user});
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// A token that is no JWT: the test server reads its user, a device does not.
fn opaque(user: &str) -> String {
    format!("opaque.{}", URL_SAFE_NO_PAD.encode(serde_json::json!({"sub": user}).to_string()))
}

/// A device whose app signs in, and its requests.
struct Phone {
    folder: TempDir,
    url: String,
    sign_in: Arc<SignIn>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Phone {
    fn new(url: &str, user: &str) -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            url: url.to_owned(),
            sign_in: Arc::new(SignIn { token: Mutex::new(token(user)), user: Mutex::default() }),
            requests: Arc::default(),
        }
    }

    fn open(&self) -> Client {
        let config = Config::new(self.folder.path().join("app.db"))
            .server(self.url.clone())
            .sync_interval(std::time::Duration::from_hours(1));
        let inner = HttpTransport::new(&self.url, 1 << 20).unwrap();
        let services = Services {
            tokens: Some(self.sign_in.clone()),
            transport: Some(Arc::new(Recording { inner, requests: self.requests.clone() })),
            ..Services::default()
        };
        let client = Client::open_with(config, services).wait().unwrap();
        // Without a network, the device tries only what the test requests.
        client.sync().set_network(Network { online: false, metered: false });
        client
    }

    fn sign_in(&self, client: &Client, user: &str) {
        *self.sign_in.token.lock().unwrap() = token(user);
        client.sync().credentials_changed().wait().unwrap();
    }

    /// The same with an opaque token whose user the app may name.
    fn sign_in_opaquely(&self, client: &Client, user: &str, is_named: bool) {
        *self.sign_in.token.lock().unwrap() = opaque(user);
        *self.sign_in.user.lock().unwrap() = is_named.then(|| user.to_owned());
        client.sync().credentials_changed().wait().unwrap();
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// Requests that carried a token of this user.
    fn requests_of(&self, user: &str) -> Vec<String> {
        let start = format!("{user} ");
        self.requests().into_iter().filter(|one| one.starts_with(&start)).collect()
    }
}

fn sync(client: &Client) -> rejoin_core::Result<rejoin_core::SyncReport> {
    client.sync().run(Some(PATIENCE)).wait()
}

/// The credentials belong to another user, and this many mutations are pending.
#[track_caller]
fn is_refused(client: &Client, waiting: u64) {
    let refused = sync(client);
    assert!(
        matches!(refused, Err(Error::WrongUser { pending }) if pending == waiting),
        "{refused:?}"
    );
}

/// A synced device with an unsent edit of Ana's.
fn with_work_of_ana(url: &str, name: &str) -> (Phone, Client) {
    let phone = Phone::new(url, name);
    let client = phone.open();
    sync(&client).unwrap();
    insert(&client, "p1");
    (phone, client)
}

fn insert(client: &Client, id: &str) {
    let sql = format!("INSERT INTO places (id, name, user_id) VALUES ('{id}', 'of ana', 'ana')");
    client.execute(&sql, ()).wait().unwrap();
}

#[test]
fn plain_server_receives_nothing_with_another_users_token() {
    let door = Door::before(PlainBackend::new());
    let (phone, client) = with_work_of_ana(&door.url, "ana");
    phone.sign_in(&client, "bob");
    is_refused(&client, 1);
    // And in the next process.
    client.shutdown().wait().unwrap();
    let client = phone.open();
    is_refused(&client, 1);
    assert_eq!(phone.requests_of("bob"), [""; 0]);
    assert_eq!(door.plain(|plain| plain.see("places", &["id"])), "");
    // On such a server, names that differ in case are equal.
    phone.sign_in(&client, "Ana");
    assert_eq!(sync(&client).unwrap().still_pending, 0);
    assert_eq!(door.plain(|plain| plain.see("places", &["id", "user_id"])), "p1|ana");
}

/// The server never names the user of a token: if neither the token nor its provider does, it may
/// be another user's.
#[test]
fn opaque_token_on_a_plain_server_needs_a_subject() {
    let door = Door::before(PlainBackend::new());
    let (phone, client) = with_work_of_ana(&door.url, "ana");
    phone.requests();
    let is_unknown = |client: &Client| {
        let refused = sync(client);
        assert!(
            matches!(&refused, Err(Error::InvalidInput(InputFault::Refused { reason: why, .. })) if why.contains("`subject`")),
            "{refused:?}"
        );
    };
    phone.sign_in_opaquely(&client, "ana", false);
    is_unknown(&client);
    phone.sign_in_opaquely(&client, "bob", false);
    is_unknown(&client);
    phone.sign_in_opaquely(&client, "bob", true);
    is_refused(&client, 1);
    assert_eq!(phone.requests(), [""; 0], "nothing at all was sent");
    assert_eq!(door.plain(|plain| plain.see("places", &["id"])), "");
    phone.sign_in_opaquely(&client, "ana", true);
    assert_eq!(sync(&client).unwrap().still_pending, 0);
    assert_eq!(door.plain(|plain| plain.see("places", &["id", "user_id"])), "p1|ana");
}

/// A new file learns from the response to register that its server is plain: no row has been sent
/// by then.
#[test]
fn opaque_token_is_refused_at_the_first_register() {
    let door = Door::before(PlainBackend::new());
    let phone = Phone::new(&door.url, "ana");
    let client = phone.open();
    phone.sign_in_opaquely(&client, "ana", false);
    assert!(matches!(sync(&client), Err(Error::InvalidInput(InputFault::Refused { .. }))));
    assert!(phone.requests_of("ana").iter().all(|one| one == "ana register"));
    phone.sign_in_opaquely(&client, "ana", true);
    sync(&client).unwrap();
    insert(&client, "p1");
    phone.sign_in_opaquely(&client, "bob", true);
    is_refused(&client, 1);
}

#[test]
fn register_response_names_the_user_before_any_push() {
    let mut backend = Backend::new();
    backend.sign(SECRET);
    let served = Served::new(&backend);
    let (phone, client) = with_work_of_ana(&served.url, "ana");
    phone.sign_in(&client, "bob");
    is_refused(&client, 1);
    let asked = phone.requests_of("bob");
    assert!(!asked.is_empty() && asked.iter().all(|one| one == "bob register"), "{asked:?}");
    phone.sign_in(&client, "Ana");
    is_refused(&client, 1); // Here, names are case-sensitive.
    assert!(phone.requests_of("Ana").iter().all(|one| one == "Ana register"));
    phone.sign_in(&client, "ana");
    assert_eq!(sync(&client).unwrap().still_pending, 0);
    assert_eq!(backend.see("SELECT id, user_id FROM places"), "p1|ana");
}

#[test]
fn file_keeps_its_user_across_a_server_upgrade() {
    let door = Door::before(PlainBackend::new());
    let (phone, client) = with_work_of_ana(&door.url, "Ana");
    client.shutdown().wait().unwrap();
    let mut backend = Backend::new();
    backend.sign(SECRET);
    let served = Served::new(&backend);
    door.upgrade(served.url.trim_start_matches("http://").parse().unwrap());
    let client = phone.open();
    phone.sign_in(&client, "bob");
    is_refused(&client, 1);
    assert_eq!(phone.requests_of("bob"), [""; 0]);
    // User names are case-sensitive here, and the file now has this one.
    phone.sign_in(&client, "ana");
    assert_eq!(sync(&client).unwrap().still_pending, 0);
    phone.sign_in(&client, "bob");
    is_refused(&client, 0);
    assert_eq!(backend.see("SELECT id, user_id FROM places"), "p1|ana");
}

#[test]
fn next_user_takes_over_the_file_after_a_reset() {
    let mut backend = Backend::new();
    backend.sign(SECRET);
    backend.outside(
        "INSERT INTO places (id, name, user_id) VALUES ('a1', 'of ana', 'ana'), ('b1', 'of bob', 'bob')",
    );
    let served = Served::new(&backend);
    let phone = Phone::new(&served.url, "ana");
    let client = phone.open();
    sync(&client).unwrap();
    client.schema().create_table("setting", "id TEXT PRIMARY KEY").wait().unwrap();
    client.execute("INSERT INTO setting VALUES ('dark')", ()).wait().unwrap();
    let mut watch = block_on(client.watch("SELECT id FROM places ORDER BY id", (), &[])).unwrap();
    assert_eq!(block_on(watch.next()).unwrap().unwrap().rows.len(), 1);
    insert(&client, "p1");
    phone.sign_in(&client, "bob");
    is_refused(&client, 1);
    assert!(matches!(
        client.storage().clear_for_next_user(Vec::new()).wait(),
        Err(Error::Queue(QueueFault::Unsent { waiting: 1 }))
    ));
    let waiting = client.queue().all().wait().unwrap();
    let verdict = client.queue().verdict(waiting[0].id, Some(PATIENCE));
    let reset = client.storage().clear_for_next_user(vec![waiting[0].id]).wait().unwrap();
    assert_eq!((reset.given_up, reset.rows, reset.local_rows), (waiting, 2, 0));
    // A waiting caller learns that it is gone, and the queries follow.
    assert_eq!(verdict.wait().unwrap(), Verdict::Unknown);
    client.sync().first_sync(Some(PATIENCE)).wait().unwrap();
    assert_eq!(sync(&client).unwrap().still_pending, 0);
    let rows = client.query("SELECT id FROM places", ()).wait().unwrap();
    assert_eq!(rows.row(0).unwrap().get::<&str>("id").unwrap(), "b1");
    loop {
        let rows = block_on(watch.next()).unwrap().unwrap().rows;
        if rows.len() == 1 && rows.row(0).unwrap().get::<&str>("id").unwrap() == "b1" {
            break;
        }
    }
    assert_eq!(client.query("SELECT id FROM setting", ()).wait().unwrap().len(), 1);
    assert_eq!(backend.see("SELECT id, user_id FROM places ORDER BY id"), "a1|ana b1|bob");
}
