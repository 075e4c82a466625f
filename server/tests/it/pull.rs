//! Pull: changes, deletes, pages, buckets, retention, epochs.

use serde_json::json;

use crate::world::{World, place};

#[tokio::test]
async fn what_one_device_pushed_another_pulls() {
    let world = World::new();
    let mut one = world.device("anna", "a1").await;
    let mut two = world.device("anna", "a2").await;
    assert!(two.snapshot(100).await.is_empty());
    one.accept("m1", json!([place("p1", "Quay"), place("p2", "Pier")])).await;
    assert_eq!(two.pull().await, ["places/p1", "places/p2"]);
    let delete = json!([{"operation": "delete", "table_name": "places", "id": "p1",
                         "old": {"name": "Quay"}}]);
    one.accept("m2", delete).await;
    assert_eq!(two.pull().await, ["-places/p1"]);
    assert!(two.pull().await.is_empty());
}
