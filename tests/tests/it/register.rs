//! Register: the user of the file, the device's identity, and the server's epoch.

use rejoin_core::Error;
use rejoin_core::sync::session::{Phase, Response};
use rejoin_protocol::wire::register::RegisterRequest;
use rejoin_tests::{Backend, Device, Store};

use crate::{apply, each_store};

fn registered(device: &Device) -> Vec<RegisterRequest> {
    let requests = device.sent.iter().filter(|one| one.phase == Phase::Registering);
    requests.map(|one| serde_json::from_slice(one.body.as_ref().unwrap()).unwrap()).collect()
}

#[apply(each_store)]
fn register_sends_identity_and_capabilities(store: Store) {
    let server = Backend::on(store);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.crash();
    device.sync(&server);
    let requests = registered(&device);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].client_id, requests[1].client_id, "the id stays");
    assert_eq!((requests[0].schema_version, requests[0].schema_hash.as_str()), (0, ""));
    let hello = requests[1].rejoin.clone().unwrap();
    assert!(hello.cursor.is_some());
    assert!(hello.incarnation > requests[0].rejoin.clone().unwrap().incarnation);
    assert_eq!(hello.capabilities, rejoin_protocol::capability::ALL);
}

#[apply(each_store)]
fn another_user_is_refused_before_anything_is_sent(store: Store) {
    let server = Backend::on(store);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.write("INSERT INTO places (id, name) VALUES ('p1', 'of ana')");
    device.crash();
    "bob".clone_into(&mut device.user);
    let before = device.sent.len();
    let error = device.pass(&server).unwrap_err();
    let wrong = error.downcast_ref::<Error>();
    assert!(matches!(wrong, Some(Error::WrongUser { pending: 1 })), "{error}");
    let phases: Vec<Phase> = device.sent[before..].iter().map(|one| one.phase).collect();
    assert_eq!(phases, [Phase::Registering], "only the register request was sent");
    // Back with its own user it continues.
    "ana".clone_into(&mut device.user);
    device.sync(&server);
    assert_eq!(server.see("SELECT id, user_id FROM places"), "p1|ana");
}

#[apply(each_store)]
fn configured_user_id_differs_from_token_user(store: Store) {
    let server = Backend::on(store);
    let mut device = Device::with("ana", 1, None, |config| config.user_id = Some("u-1".into()));
    device.sync(&server);
    device.reconfigure(|config| config.user_id = Some("u-2".into()));
    let error = device.pass(&server).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::WrongUser { pending: 0 })), "{error}");
}

#[apply(each_store)]
fn forgotten_device_registers_again(store: Store) {
    let server = Backend::on(store);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    server.outside("DELETE FROM rejoin_client");
    device.write("INSERT INTO places (id, name) VALUES ('p1', 'new')");
    let report = device.pass(&server).unwrap();
    assert_eq!((report.accepted, report.still_pending), (1, 0));
    assert_eq!(registered(&device).len(), 2);
    assert_eq!(server.see("SELECT id FROM places"), "p1");
}

#[apply(each_store)]
fn refusals_end_the_pass_with_typed_errors(store: Store) {
    let server = Backend::on(store);
    let mut device = Device::new("ana", 1);
    device.sync(&server);
    device.write("INSERT INTO places (id, name) VALUES ('p1', 'new')");
    let cases = [
        (401, r#"{"error":"invalid token"}"#, "credentials are missing or refused"),
        (426, r#"{"error":"2.0.0"}"#, "the server asks for a newer version of the app: 2.0.0"),
        (429, r#"{"error":"slow down"}"#, "server answered 429 : slow down"),
    ];
    for (status, body, expected) in cases {
        device.until(&server, Phase::Pushing).unwrap();
        let answered =
            device.step_with(&server, |answer| Response { status, body: body.into(), ..answer });
        assert_eq!(answered.unwrap_err().to_string(), expected);
        assert_eq!(
            device.waiting(),
            "Uncertain/1",
            "{status}: what was sent may have been applied"
        );
    }
    device.sync(&server);
    assert_eq!(device.waiting(), "");
}
