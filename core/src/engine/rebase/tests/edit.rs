//! What follows a mutation that the app edits keeps its order: what was written later stays on top.

use super::support::*;
use crate::engine::queue::mutation::State;

#[test]
fn edit_keeps_what_was_written_over_a_follower() {
    let (_folder, mut engine) = notes();
    let batch = images(&engine, &[("b", Some("old"), 1)]);
    engine.apply(batch).unwrap();
    engine.execute("INSERT INTO notes (id, body) VALUES ('a', 'new')", &[]).unwrap();
    // It follows the create, and writes another row too, which a later edit overwrites.
    engine
        .transaction(|tx| {
            tx.execute("UPDATE notes SET n = 2 WHERE id = 'a'", &[])?;
            tx.execute("UPDATE notes SET body = 'follows', n = 2 WHERE id = 'b'", &[]).map(drop)
        })
        .unwrap();
    engine.execute("UPDATE notes SET body = 'later' WHERE id = 'b'", &[]).unwrap();
    let ids: Vec<_> = engine.pending().unwrap().iter().map(|one| one.id).collect();
    let edit = "UPDATE notes SET body = 'edited' WHERE id = 'a'";
    let edited = engine.edit(ids[0], |tx| tx.execute(edit, &[]).map(drop)).unwrap().unwrap();
    assert_eq!(shown(&engine), "a edited 2; b later 2");
    let queue = engine.pending().unwrap();
    let order: Vec<_> = queue.iter().map(|one| (one.id, one.state)).collect();
    assert_eq!(order, [edited, ids[1], ids[2]].map(|id| (id, State::Pending)));
    assert!(engine.verdicts(0, 10).unwrap().entries.is_empty(), "nothing was parked");
    // The later edit compares what the follower writes, as its author saw it.
    let offers = send(&mut engine, 1);
    let old = &offers[2].rows[0].old;
    assert_eq!(old, &[(id_of(&engine, "notes", "body"), "follows".into())]);
}
