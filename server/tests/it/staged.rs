//! Groups whose content arrives in parts.

use macro_rules_attribute::apply;
use rejoin_protocol::limits::GROUP_BYTES;
use rejoin_protocol::wire::push::{Ending, Staged};
use rejoin_server::Limits;
use serde_json::{Value, json};

use crate::world::{Backend, Device, TABLES, World, place, standard};

/// Sends a part; the status and what the server has.
async fn part(
    device: &Device<'_>,
    content: &Staged,
    offset: usize,
    bytes: &[u8],
) -> (u16, Option<u64>) {
    let Staged { content, bytes: all } = content;
    let client_id = &device.client_id;
    let query = format!("client_id={client_id}&content={content}&bytes={all}&offset={offset}");
    let headers = [("X-User-ID", device.user.as_str()), ("Rejoin-Protocol", "1")];
    let path = format!("/sync/stage?{query}");
    let (status, _, answer) = device.world.send("POST", &path, &headers, bytes).await;
    (status, answer["have"].as_u64())
}

/// The content of a group that creates these places, of 6,000 bytes each.
fn content_of(ids: &[&str]) -> Vec<u8> {
    let name = "x".repeat(6_000);
    let changes: Vec<Value> = ids.iter().map(|id| place(id, &name)).collect();
    json!({"changes": changes}).to_string().into_bytes()
}

async fn push(device: &mut Device<'_>, id: &str, content: &Staged) -> (Ending, String) {
    let mut group = device.group(id, &json!([]));
    group["staged"] = json!(content);
    let answer = device.push_groups(json!([group])).await.rejoin.unwrap();
    let verdict = &answer.verdicts[0];
    (verdict.verdict, verdict.code.clone().unwrap_or_default())
}

#[apply(stores!)]
async fn content_in_parts_is_applied_once_and_deleted(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let bytes = content_of(&["p1", "p2"]);
    let content = Staged::of(&bytes);
    let half = bytes.len() / 2;
    let not_staged = (Ending::Retry, "not_staged".to_owned());
    assert_eq!(push(&mut anna, "m1", &content).await, not_staged);
    assert_eq!(part(&anna, &content, 0, &[]).await, (200, Some(0)));
    assert_eq!(part(&anna, &content, 0, &bytes[..4_095]).await, (400, None), "a row for each byte");
    assert_eq!(part(&anna, &content, 0, &bytes[..half]).await, (200, Some(half as u64)));
    assert_eq!(part(&anna, &content, 0, &bytes[..half]).await, (200, Some(half as u64)), "again");
    assert_eq!(push(&mut anna, "m1", &content).await, not_staged);
    let whole = Some(bytes.len() as u64);
    assert_eq!(part(&anna, &content, half, &bytes[half..]).await, (200, whole));
    assert_eq!(part(&anna, &content, bytes.len(), b"more").await, (200, whole));
    assert_eq!(push(&mut anna, "m1", &content).await, (Ending::Accepted, String::new()));
    assert_eq!(world.one("SELECT count(*) FROM places"), "2");
    assert_eq!(world.one("SELECT count(*) FROM rejoin_staged"), "0");
    anna.seq -= 1;
    assert_eq!(push(&mut anna, "m1", &content).await, (Ending::Accepted, String::new()), "stored");
    assert_eq!(world.one("SELECT count(*) FROM places"), "2");
}

#[apply(stores!)]
async fn content_of_another_device_or_user_is_not_used(world: World) {
    let bytes = content_of(&["p1"]);
    let content = Staged::of(&bytes);
    let anna = world.device("anna", "a1").await;
    let length = Some(bytes.len() as u64);
    assert_eq!(part(&anna, &content, 0, &bytes).await, (200, length));
    for (user, client_id) in [("anna", "a2"), ("bert", "a1")] {
        let mut other = world.device(user, client_id).await;
        let (ending, code) = push(&mut other, "m1", &content).await;
        assert_eq!((ending, code.as_str()), (Ending::Retry, "not_staged"));
        assert_eq!(part(&other, &content, 0, &[]).await, (200, Some(0)));
    }
    let mut stranger = world.device("bert", "b1").await;
    stranger.client_id = "a1".into();
    stranger.user = "carl".into();
    assert_eq!(part(&stranger, &content, 0, &bytes).await, (404, None), "not registered");
    assert_eq!(world.one("SELECT count(*) FROM places"), "0");
}

#[apply(stores!)]
async fn malformed_content_is_refused(world: World) {
    let mut anna = world.device("anna", "a1").await;
    let bytes = content_of(&["p1"]);
    let content = Staged::of(&bytes);
    // The bytes do not have this hash.
    let other = Staged { content: "0".repeat(64), ..content.clone() };
    part(&anna, &other, 0, &bytes).await;
    let (ending, code) = push(&mut anna, "m1", &other).await;
    assert_eq!((ending, code.as_str()), (Ending::Retry, "not_staged"));
    assert_eq!(world.one("SELECT count(*) FROM rejoin_staged"), "0", "it cannot be used");
    // It is the hash of bytes that are no content.
    let junk = b"{\"changes\": 7}";
    let (name, whole) = (Staged::of(junk), Some(junk.len() as u64));
    assert_eq!(part(&anna, &name, 0, junk).await, (200, whole));
    let mut group = anna.group("m2", &json!([]));
    group["staged"] = json!(name);
    let two = json!([group, anna.group("m3", &json!([]))]);
    group["changes"] = json!([place("p9", "both")]);
    let one = anna.group("m4", &json!([]));
    let mut alone = one.clone();
    alone["staged"] = json!(name);
    for groups in [two, json!([group]), json!([alone])] {
        let rejoin = json!({"epoch": anna.epoch, "groups": groups, "acked_below": 0});
        let body = json!({"changes": [], "rejoin": rejoin});
        let (status, answer) = anna.post("/sync/push", body).await;
        assert_eq!((status, &answer["code"]), (400, &json!("invalid_request")), "{answer}");
    }
    let large = Staged { bytes: GROUP_BYTES as u64 + 1, ..content.clone() };
    assert_eq!(part(&anna, &large, 0, &[]).await.0, 413);
    let headers = [("X-User-ID", "anna"), ("Rejoin-Protocol", "1")];
    let (status, _, answer) = world.send("POST", "/sync/stage?client_id=a1", &headers, "").await;
    assert_eq!((status, &answer["code"]), (400, &json!("invalid_request")), "{answer}");
    assert_eq!(world.one("SELECT count(*) FROM places"), "0");
}

#[apply(stores!)]
async fn staged_bytes_of_a_user_are_limited(backend: Backend) {
    let world = World::with(backend, TABLES, |config| {
        let limits = Limits { staged_per_user: GROUP_BYTES, ..Limits::default() };
        standard(config).with_limits(limits)
    });
    let anna = world.device("anna", "a1").await;
    let other = world.device("anna", "a2").await;
    let bert = world.device("bert", "b1").await;
    let name = |content: &str| Staged { content: content.to_owned(), bytes: GROUP_BYTES as u64 };
    let begun = [b'x'; 4_096];
    assert_eq!(part(&anna, &name("one"), 0, &begun).await.0, 200);
    assert_eq!(part(&other, &name("two"), 0, &begun).await, (429, None));
    assert_eq!(part(&bert, &name("one"), 0, &begun).await.0, 200);
    // Another content of the device replaces what it had.
    let small = Staged { content: "small".to_owned(), bytes: 4_096 };
    assert_eq!(part(&anna, &name("three"), 0, &begun).await.0, 200);
    assert_eq!(part(&anna, &small, 0, &begun).await.0, 200);
    assert_eq!(part(&other, &name("two"), 0, &begun).await, (429, None), "4 KiB too many");
    let almost = Staged { bytes: (GROUP_BYTES - 4_096) as u64, ..name("two") };
    assert_eq!(part(&other, &almost, 0, &begun).await.0, 200);
}

#[apply(stores!)]
async fn incomplete_content_is_deleted_after_a_day(world: World) {
    let anna = world.device("anna", "a1").await;
    let content = Staged { content: "one".to_owned(), bytes: 5_000 };
    assert_eq!(part(&anna, &content, 0, &[b'x'; 4_096]).await.0, 200);
    world.clock.advance(86_400_000_000);
    world.server.compact().unwrap();
    assert_eq!(world.one("SELECT count(*) FROM rejoin_staged"), "1");
    world.clock.advance(1);
    world.server.compact().unwrap();
    assert_eq!(world.one("SELECT count(*) FROM rejoin_staged"), "0");
}
