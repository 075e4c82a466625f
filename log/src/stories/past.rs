//! Entries that are placed in the past: none changes a row where its author may not write, and late
//! entries of honest users count.
//!
//! `phone` and `desk` are honest; `rogue` is a modified client that knows every key.

use super::super::effect::{Effect, Effects};
use super::super::entry::Revision;
use super::super::fixture::{author, buckets, columns, image, intent, plain, row};
use super::super::key::Key;
use super::super::message::Verdict;
use super::super::replica::write::Written;
use super::super::world::{LIMITS, World};
use crate::server::import::{ImportedEntry, import};
use rejoin_protocol::Value;

fn insert(buckets: &str, text: &str) -> Effect {
    Effect::Insert(image(buckets, text))
}

fn to(buckets: &str) -> Effect {
    Effect::Update(columns("buckets", buckets))
}

fn text(text: &str) -> Effect {
    Effect::Update(columns("text", text))
}

/// Publishes one effect of `rogue` at this time; returns the verdict.
fn rogue(world: &mut World, millis: u64, id: &str, effect: Effect) -> Verdict {
    world.forges("rogue", millis, (None, plain(id, effect))).1
}

/// The row on the server: its buckets and its text.
fn stands(world: &World, id: &str) -> String {
    let Some(image) = world.server.row(&row(id)).unwrap() else { return String::from("gone") };
    let column = |name| image.get(name).and_then(Value::as_text).unwrap_or_default();
    format!("{}: {}", column("buckets"), column("text"))
}

/// Any client could take over and delete any row whose key it knew.
#[test]
pub(super) fn backdated_insert_takes_no_row_of_others() {
    let mut world = World::new(&[("phone", "a"), ("rogue", "b")], &[("r0", "a")]);
    let start = world.now;
    world.sql("phone", "k0", insert("a", "diary"));
    world.sql("phone", "k0", text("diary, day two"));
    world.sync("phone");
    let after = world.now + 10;
    for (what, millis) in [("before", start + 1), ("between", start + 15), ("after", after)] {
        for id in ["k0", "r0"] {
            let verdict = rogue(&mut world, millis, id, insert("b", "mine"));
            assert_eq!(verdict, Verdict::Denied, "{what} {id}");
            rogue(&mut world, millis + 1, id, Effect::Delete); // Void.
            rogue(&mut world, millis + 2, id, to("b"));
        }
    }
    world.settle();
    assert_eq!(world.text("phone", "k0"), "diary, day two");
    assert_eq!(stands(&world, "r0"), "a: ");
    let own = world.device("phone").facts().author;
    let entries = world.server.entries().unwrap();
    let effects = entries.iter().filter(|entry| entry.key.author == own);
    assert!(effects.into_iter().all(|entry| !entry.content.effects.is_empty()));
    world.act("phone", "append k0 !");
    world.settle();
    assert_eq!(world.text("phone", "k0"), "diary, day two!");
}

/// What a row was before it left a bucket is no way to what it is now.
#[test]
pub(super) fn row_that_left_a_bucket_is_out_of_its_members_reach() {
    let attacks = [
        ("delete", Effect::Delete),
        ("update", text("defaced")),
        ("insert", insert("a", "defaced")),
        ("move", to("a b")),
        ("move away", to("b")),
    ];
    for (what, attack) in attacks {
        let mut world = World::new(&[("phone", "a p"), ("rogue", "a b")], &[("r0", "a")]);
        let start = world.now;
        world.act("phone", "move r0 p");
        world.act("phone", "append r0 private");
        world.sync("phone");
        let verdict = rogue(&mut world, start + 1, "r0", attack);
        assert_eq!(verdict, Verdict::Denied, "{what}");
        world.settle();
        assert_eq!(stands(&world, "r0"), "p: private", "{what}");
    }
}

/// A row that was deleted and created again keeps its key in between, and a deleted one keeps it until
/// the horizon.
#[test]
pub(super) fn deleted_row_leaves_its_key_to_no_other_bucket() {
    let mut world = World::new(&[("phone", "a"), ("rogue", "b")], &[]);
    let start = world.now;
    world.sql("phone", "k0", insert("a", "one"));
    world.sql("phone", "k0", Effect::Delete);
    let gap = world.now + 5;
    world.sql("phone", "k0", insert("a", "two"));
    world.sync("phone");
    for millis in [start + 1, gap, world.now + 1] {
        let verdict = rogue(&mut world, millis, "k0", insert("b", "mine"));
        assert_eq!(verdict, Verdict::Denied, "at {millis}");
    }
    assert_eq!(stands(&world, "k0"), "a: two");
    world.sql("phone", "k0", Effect::Delete);
    world.sync("phone");
    let now = world.now;
    assert_eq!(rogue(&mut world, now, "k0", insert("b", "mine")), Verdict::Denied);
    world.sql("phone", "k0", insert("a", "back"));
    world.settle();
    assert_eq!(stands(&world, "k0"), "a: back");
    world.sql("phone", "k0", Effect::Delete);
    world.sync("phone");
    world.now += LIMITS.retention;
    world.compacts();
    world.fetch("rogue");
    let soon = world.now + 1;
    let verdict = rogue(&mut world, soon, "k0", insert("b", "new"));
    assert!(matches!(verdict, Verdict::Held { .. }), "the horizon has passed the deletion");
}

/// A new revision of an accepted entry changes the past like a late entry.
#[test]
pub(super) fn revision_changes_no_row_that_left_its_authors_buckets() {
    for attack in [plain("r0", Effect::Delete), plain("r0", text("defaced")), Effects::default()] {
        let mut world = World::new(&[("phone", "a p"), ("rogue", "a")], &[("r0", "a")]);
        let millis = world.now + 1;
        let (id, verdict) = world.forges("rogue", millis, (None, plain("r0", text("x"))));
        assert!(matches!(verdict, Verdict::Held { .. }));
        world.now += 10;
        world.fetch("phone");
        world.act("phone", "move r0 p");
        world.sync("phone");
        let author = world.device("rogue").facts().author;
        let key = Key { millis, counter: 0, author, id };
        let verdict = world.forges_at("rogue", key, Revision(1), (None, attack.clone()));
        assert_eq!(verdict, Verdict::Frozen { revision: Revision(0), key }, "{attack:?}");
        assert_eq!(stands(&world, "r0"), "p: x", "{attack:?}");
    }
}

/// An author chooses action, arguments and time: the authority, which runs the action, reaches no
/// further than the author, and ends.
#[test]
pub(super) fn authority_reaches_no_further_than_the_author() {
    let mut world = World::new(&[("phone", "a"), ("rogue", "b")], &[]);
    let start = world.now;
    world.sql("phone", "k0", insert("a", "diary"));
    world.sync("phone");
    let meant = (Some(intent("put k0 b mine")), Effects::default());
    let (_, verdict) = world.forges("rogue", start + 1, meant);
    assert!(matches!(verdict, Verdict::Held { .. }), "it has no effect");
    assert_eq!(world.judges(), 0);
    assert_eq!(stands(&world, "k0"), "a: diary");
    world.leaves_for_good("rogue");
    world.settle();
}

/// What others write where the author does not read is not carried into a bucket that it reads.
#[test]
pub(super) fn hidden_row_is_not_created_again_where_it_is_read() {
    let mut world = World::new(&[("desk", "a in"), ("rogue", "a")], &[("r0", "in")]);
    world.joins_to_write("rogue", "a", "in");
    world.fetch("rogue");
    let start = world.now;
    world.act("desk", "append r0 secret");
    world.sync("desk");
    let removed = rogue(&mut world, start + 1, "r0", Effect::Delete);
    assert!(matches!(removed, Verdict::Held { .. }), "who writes a bucket may delete there");
    let again = rogue(&mut world, start + 2, "r0", insert("a", ""));
    assert_eq!(again, Verdict::Denied);
    assert_eq!(stands(&world, "r0"), "gone");
}

/// Members of one bucket write it in the order of their clocks, whatever else they may write.
#[test]
pub(super) fn late_entries_of_members_count_in_clock_order() {
    let mut world = World::new(&[("phone", "a p"), ("desk", "a q")], &[("r0", "a"), ("r1", "a")]);
    world.act("phone", "append r0 x"); // Offline, earlier keys.
    world.sql("phone", "r1", Effect::Delete);
    world.sql("phone", "k0", insert("a", "phone"));
    world.act("desk", "append r0 y");
    world.sql("desk", "r1", text("too late"));
    world.sql("desk", "k0", insert("a", "desk"));
    world.sync("desk");
    world.settle();
    assert_eq!(world.device("phone").parked().unwrap(), []);
    assert_eq!(stands(&world, "r0"), "a: xy");
    assert_eq!(stands(&world, "r1"), "gone");
    assert_eq!(stands(&world, "k0"), "a: desk");
}

/// The edit of a row that has left meanwhile waits for the user, and nothing else waits for it.
#[test]
pub(super) fn late_edit_of_a_row_that_left_is_parked() {
    let mut world = World::new(&[("phone", "a p"), ("desk", "a")], &[("r0", "a"), ("r1", "a")]);
    let edit = world.sql("desk", "r0", text("mine")); // Offline, earlier keys.
    world.act("desk", "append r1 y");
    world.act("phone", "move r0 p");
    world.sync("phone");
    world.settle();
    let parked = world.device("desk").parked().unwrap();
    assert_eq!(parked.iter().map(|entry| entry.id).collect::<Vec<_>>(), [edit]);
    assert_eq!([stands(&world, "r0"), stands(&world, "r1")], ["p: ", "a: y"]);
    world.joins("desk", "a p");
    world.fetch("desk");
    world.device("desk").retry(edit).unwrap();
    world.settle();
    assert_eq!(world.text("phone", "r0"), "mine", "at its old place");
}

/// Another key is taken where the author cannot see it: its entry is parked and can be made again.
#[test]
pub(super) fn late_insert_at_a_taken_key_is_parked() {
    let mut world = World::new(&[("phone", "a"), ("desk", "b")], &[]);
    let mine = world.sql("desk", "k0", insert("b", "mine")); // Offline, earlier key.
    world.act("desk", "append k0 !");
    world.sql("phone", "k0", insert("a", "diary"));
    world.sync("phone");
    assert_eq!(world.text("desk", "k0"), "mine!");
    world.settle();
    assert_eq!(world.text("phone", "k0"), "diary");
    assert_eq!(world.text("desk", "k0"), "gone");
    let parked = world.device("desk").parked().unwrap();
    assert_eq!(parked.iter().map(|entry| entry.id).collect::<Vec<_>>(), [mine]);
    let (new, now) = (world.new_id(), world.now);
    let other = Written::Plain(plain("k1", insert("b", "mine")));
    world.device("desk").edit_parked(mine, new, other, now).unwrap();
    world.settle();
    assert_eq!(world.text("desk", "k1"), "mine");
}

/// A restored server receives the move of a row before its insert.
#[test]
pub(super) fn insert_below_the_move_of_its_row_is_accepted() {
    let mut world = World::new(&[("phone", "a p"), ("desk", "a")], &[]);
    let backup = world.server.store().clone();
    world.sql("desk", "k0", insert("a", "kept"));
    world.sync("desk");
    world.fetch("phone");
    world.sql("phone", "k0", to("p"));
    world.settle();
    world.restores(&backup, 2);
    world.sync("phone");
    assert_eq!(stands(&world, "k0"), "gone");
    world.settle();
    assert_eq!(stands(&world, "k0"), "p: kept");
    assert_eq!(world.device("desk").parked().unwrap(), []);
}

/// An import places entries of another log before those of devices, and takes no row from them.
#[test]
pub(super) fn import_takes_no_row_that_a_device_wrote() {
    let mut world = World::new(&[("phone", "a")], &[]);
    let start = world.now;
    world.sql("phone", "k0", insert("a", "diary"));
    world.sync("phone");
    let (id, now) = (world.new_id(), world.now);
    let key = Key { millis: start + 1, counter: 0, author: author(50), id };
    let both = ["k0", "k1"].map(|id| (row(id), insert("b", "imported")));
    let write_set = buckets("b").into();
    let entry = ImportedEntry { key, effects: Effects::from_iter(both), write_set };
    import(&mut world.server, &[entry], now).unwrap();
    assert_eq!(stands(&world, "k0"), "a: diary");
    assert_eq!(stands(&world, "k1"), "b: imported");
    world.settle();
}
