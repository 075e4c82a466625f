//! An entry wakes the members of its bucket, at the same server and, over one PostgreSQL database, at
//! another.

use macro_rules_attribute::apply;

use super::device::Device;
use super::{Log, world};
use crate::events::Listening;
use crate::postgres_only::nodes::until_it_listens;
use crate::world::Backend;

#[tokio::test(flavor = "multi_thread")]
async fn postgres_entry_wakes_only_members_at_the_other_node() {
    let one = world(Backend::Postgres);
    one.server.grant("anna", "event:e2").unwrap();
    one.server.grant("eve", "event:e2").unwrap();
    let two = one.node();
    let mut anna = Device::new(&one, "anna", 1).await;
    let mut ben = Listening::start(&two.server, ("X-User-ID", "ben")).await;
    let mut eve = Listening::start(&two.server, ("X-User-ID", "eve")).await;
    assert!(ben.next().await.unwrap().starts_with("hello"));
    assert!(eve.next().await.unwrap().starts_with("hello"));
    until_it_listens(one.database(), 1).await;
    // The first wake-up reaches listeners with unread buckets too; afterwards they are known.
    anna.act("create", "r0", "e1").unwrap();
    anna.sync().await;
    assert_eq!(ben.next().await.unwrap(), "changed {}");
    assert_eq!(eve.next().await.unwrap(), "changed {}");
    let before = two.server.wakes();
    anna.act("append", "r0", "x").unwrap();
    anna.sync().await;
    assert_eq!(ben.next().await.unwrap(), "changed {}");
    assert_eq!(two.server.wakes() - before, 1, "ben alone");
    anna.act("create", "r1", "e2").unwrap();
    anna.sync().await;
    assert_eq!(eve.next().await.unwrap(), "changed {}");
    assert_eq!(two.server.wakes() - before, 2, "eve alone");
}

#[apply(stores!)]
async fn entry_wakes_members_only(log: Log) {
    let world = &log.0;
    world.server.grant("eve", "event:e2").unwrap();
    let mut anna = Device::new(world, "anna", 1).await;
    let mut ben = Listening::start(&world.server, ("X-User-ID", "ben")).await;
    let mut eve = Listening::start(&world.server, ("X-User-ID", "eve")).await;
    for listener in [&mut ben, &mut eve] {
        assert!(listener.next().await.unwrap().starts_with("hello"));
    }
    // The first wake-up reaches listeners with unread buckets too; afterwards they are known.
    anna.act("create", "r0", "e1").unwrap();
    anna.sync().await;
    for listener in [&mut ben, &mut eve] {
        assert_eq!(listener.next().await.unwrap(), "changed {}");
    }
    // Eve's buckets may be read a little later.
    for _ in 0..50 {
        let before = world.server.wakes();
        anna.act("append", "r0", "x").unwrap();
        anna.sync().await;
        assert_eq!(ben.next().await.unwrap(), "changed {}");
        if world.server.wakes() - before == 1 {
            return;
        }
    }
    panic!("eve is woken by each entry of a bucket that she does not read");
}
