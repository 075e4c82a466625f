//! Snapshot: pages by key, ranges, resumption.

use serde_json::json;

use crate::world::{World, place};

#[tokio::test]
async fn pages_bring_every_row_of_the_user_once() {
    let world = World::new();
    let mut anna = world.device("anna", "a1").await;
    let mut ben = world.device("ben", "b1").await;
    for number in 0..7 {
        let id = format!("p{number}");
        anna.accept(&format!("m{number}"), json!([place(&id, "x")])).await;
    }
    ben.accept("m1", json!([place("q1", "theirs")])).await;
    for limit in [1, 2, 3, 7, 100] {
        let names = anna.snapshot(limit).await;
        assert_eq!(names.len(), 7, "by {limit}: {names:?}");
    }
    assert_eq!(ben.snapshot(1).await, ["places/q1"]);
}
