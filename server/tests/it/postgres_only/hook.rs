//! A hook in a transaction of PostgreSQL that loses against another program.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rejoin_server::hooks::{Accepted, Hooks, Veto, Within};
use serde_json::json;

use crate::world::{TABLES, World, place, rename, standard};

/// Says when it is about to write, and how often it was asked.
#[derive(Debug)]
struct Writer {
    begins: Mutex<Sender<()>>,
    asked: AtomicUsize,
}

impl Hooks for Writer {
    fn accepted(&self, accepted: &Accepted<'_>, within: &Within<'_>) -> Result<(), Veto> {
        if accepted.mutation == Some("m2") {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.begins.lock().unwrap().send(()).unwrap();
            within.execute("UPDATE stock SET left_over = left_over - 1 WHERE id = 'x'", &[])?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_loses_in_a_deadlock_is_done_again_and_so_is_its_hook() {
    let (begins, begun) = channel();
    let writer = Arc::new(Writer { begins: Mutex::new(begins), asked: AtomicUsize::new(0) });
    let hooks = Arc::clone(&writer);
    let stock = "CREATE TABLE stock(id TEXT PRIMARY KEY, left_over INTEGER); INSERT INTO stock VALUES('x', 10);";
    let configure = |config| standard(config).with_hooks(hooks.clone());
    let world = World::postgres(&format!("{TABLES}{stock}"), configure);
    let mut anna = world.device("anna", "a1").await;
    anna.accept("m1", json!([place("p1", "Quay")])).await;
    let other = world.database.as_ref().unwrap().session();
    other.run("BEGIN; UPDATE stock SET left_over = left_over - 5 WHERE id = 'x'");
    let crossing = tokio::task::spawn_blocking(move || {
        begun.recv().unwrap();
        // By now the hook waits for the stock; the first to have waited for a second is the one who loses.
        std::thread::sleep(Duration::from_millis(300));
        other.run("UPDATE places SET score = 7 WHERE id = 'p1'; COMMIT");
        begun // So that who asks again finds somebody to tell.
    });
    anna.accept("m2", json!([rename("p1", "Quay", "Pier")])).await;
    drop(crossing.await.unwrap());
    assert_eq!(writer.asked.load(Ordering::Relaxed), 2);
    assert_eq!(world.one("SELECT left_over::text FROM stock"), "4", "each took once");
    assert_eq!(world.one("SELECT name || score FROM places"), "Pier7");
}
