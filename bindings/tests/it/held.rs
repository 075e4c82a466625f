//! Held transactions and snapshots, through their handles.

use rejoin_core::block_on;
use rejoin_ffi::RejoinError;

use crate::home::{Home, text};

const PUT: &str = "INSERT INTO note VALUES (?, 'x')";
const ALL: &str = "SELECT id FROM note ORDER BY id";

#[test]
fn savepoints_are_kept_or_undone_alone() {
    let home = Home::new();
    block_on(async {
        let tx = home.client.begin().await.unwrap();
        for (id, keep) in [("a", true), ("b", false)] {
            let part = tx.savepoint().await.unwrap();
            tx.execute(PUT.to_owned(), vec![text(id)]).await.unwrap();
            let done = if keep { tx.release(part).await } else { tx.rollback_to(part).await };
            done.unwrap();
            for again in [tx.release(part).await, tx.rollback_to(part).await] {
                assert!(matches!(again, Err(RejoinError::InvalidInput { .. })));
            }
        }
        tx.commit().await.unwrap();
    });
    assert_eq!(home.sees(ALL), ["a"]);
}

#[test]
fn a_savepoint_that_is_open_at_the_commit_rolls_all_of_it_back() {
    let home = Home::new();
    block_on(async {
        let tx = home.client.begin().await.unwrap();
        tx.execute(PUT.to_owned(), vec![text("a")]).await.unwrap();
        let (outer, inner) = (tx.savepoint().await.unwrap(), tx.savepoint().await.unwrap());
        let error = tx.release(outer).await.unwrap_err();
        assert!(matches!(error, RejoinError::InvalidInput { .. }), "{error:?}");
        let named = [outer, inner].map(|number| format!("savepoint {number}"));
        assert!(named.iter().all(|name| error.to_string().contains(name)), "{error}");
        for ended in [tx.commit().await, tx.commit().await, tx.release(inner).await] {
            let error = ended.unwrap_err();
            assert!(matches!(error, RejoinError::InvalidInput { .. }), "{error:?}");
            assert!(error.to_string().contains("a part was not ended at the commit"), "{error}");
        }
    });
    assert!(home.sees(ALL).is_empty());
    home.runs("INSERT INTO note VALUES ('b', 'x')");
}

#[test]
fn a_transaction_that_is_forgotten_ends_by_itself_and_writing_goes_on() {
    let home = Home::opened(|config| config.transaction_idle_ms = Some(100), None, None, None);
    home.runs("CREATE TABLE note (id TEXT PRIMARY KEY, body TEXT)");
    let tx = block_on(home.client.begin()).unwrap();
    home.runs("INSERT INTO note VALUES ('b', 'x')");
    let error = block_on(tx.commit()).unwrap_err();
    assert!(matches!(error, RejoinError::TransactionTimeout { .. }), "{error:?}");
    assert_eq!(home.sees(ALL), ["b"]);
}

#[test]
fn suspending_ends_what_is_held_and_says_so() {
    let home = Home::new();
    block_on(async {
        let (tx, snapshot) =
            (home.client.begin().await.unwrap(), home.client.begin_read().await.unwrap());
        home.client.suspend().await.unwrap();
        assert!(matches!(tx.commit().await, Err(RejoinError::Suspended { .. })));
        assert!(matches!(snapshot.finish().await, Err(RejoinError::Suspended { .. })));
    });
}
