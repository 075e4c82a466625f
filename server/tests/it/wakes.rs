//! Wake-ups: a change wakes the readers of its buckets only, including buckets subscribed while
//! listening.

use macro_rules_attribute::apply;
use rejoin_server::TableConfig;

use crate::events::Listening;
use crate::world::{Backend, World};

/// Notes have an owner and are readable by their team; news are public.
const TABLES: &str = "
    CREATE TABLE notes(id TEXT PRIMARY KEY, owner TEXT, team TEXT, updated_at TEXT);
    CREATE TABLE news(id TEXT PRIMARY KEY, updated_at TEXT);
";

fn world(backend: Backend) -> World {
    World::with(backend, TABLES, |config| {
        config
            .with_table(TableConfig::owned("notes", "owner").with_bucket("team", "team:"))
            .with_table(TableConfig::global("news"))
    })
}

/// A statement of another program, or a bucket subscribed or removed.
enum Step {
    Write(&'static str),
    Give(&'static str, &'static str),
    Take(&'static str, &'static str),
}

#[apply(parallel_stores!)]
async fn change_wakes_affected_listeners_only(backend: Backend) {
    use Step::{Give, Take, Write};
    let world = world(backend);
    world.server.grant("eve", "team:x").unwrap();
    let users = ["anna", "ben", "eve"];
    let mut listeners = Vec::new();
    for user in users {
        let mut listening = Listening::start(&world.server, ("X-User-ID", user)).await;
        assert!(listening.next().await.unwrap().starts_with("hello"));
        listeners.push(listening);
    }
    let steps = [
        // Listeners with unread buckets are woken in any case; afterwards their buckets are known.
        (Write("INSERT INTO news(id) VALUES ('1')"), "anna ben eve"),
        (Write("INSERT INTO notes(id, owner, team) VALUES ('a', 'anna', NULL)"), "anna"),
        (Write("INSERT INTO notes(id, owner, team) VALUES ('b', 'ben', 'x')"), "ben eve"),
        (Write("UPDATE notes SET team = 'y' WHERE id = 'b'"), "ben eve"),
        (Write("UPDATE notes SET team = 'z' WHERE id = 'b'"), "ben"),
        (Write("UPDATE notes SET owner = 'anna' WHERE id = 'b'"), "anna ben"),
        (Give("anna", "team:y"), "anna"),
        (Write("INSERT INTO notes(id, owner, team) VALUES ('c', 'zoe', 'y')"), "anna"),
        (Write("UPDATE notes SET team = 'x' WHERE id = 'c'"), "anna eve"),
        (Take("eve", "team:x"), "eve"),
        (Write("DELETE FROM news"), "anna ben eve"),
        // No listener is woken by zoe's note; ben is woken by his own, which comes last.
        (
            Write(
                "UPDATE notes SET team = NULL WHERE id = 'c'; INSERT INTO notes(id, owner) VALUES ('d', 'ben')",
            ),
            "ben",
        ),
        (Write("INSERT INTO news(id) VALUES ('2')"), "anna ben eve"),
    ];
    for (number, (step, woken)) in steps.into_iter().enumerate() {
        let before = world.server.wakes();
        match step {
            Write(statement) => world.write(statement),
            Give(user, bucket) => assert!(world.server.grant(user, bucket).unwrap()),
            Take(user, bucket) => assert!(world.server.revoke(user, bucket).unwrap()),
        }
        let mut count = 0;
        for (user, listening) in users.iter().zip(&mut listeners) {
            if woken.contains(user) {
                assert_eq!(listening.next().await.unwrap(), "changed {}", "{user} in {number}");
                count += 1;
            }
        }
        assert_eq!(world.server.wakes() - before, count, "{woken} alone in {number}");
    }
}
