//! Whatever happens, in any order: nothing is lost, nothing is wedged, and both sides end with the same rows.
//!
//! One device, a plain server on which somebody else writes too, lost requests and answers, 500 before and after the
//! COMMIT, crashes, poison, small requests, short pulls. Every edit writes a value of its own, so that each can be
//! accounted for at the end: the server has had it, or it is parked with its payload, or the user wrote over it.

use std::collections::HashSet;

use serde_json::json;

use super::{Net, World};
use crate::engine::queue::mutation::State;

struct Random(fastrand::Rng);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0.u64(..end)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.usize(..of.len())]
    }
}

const NETS: [Net; 9] = [
    Net::Ok,
    Net::Ok,
    Net::Ok,
    Net::AnswerLost,
    Net::RequestLost,
    Net::FailedAfterCommit,
    Net::Sick,
    Net::Down,
    Net::Unseen,
];

/// A local transaction of one to three edits; the values that it wrote, by their rows.
fn edit(world: &mut World, random: &mut Random, token: u64) -> Vec<(String, String)> {
    let mut written = Vec::new();
    let mut sql = String::new();
    for part in 0..random.one(&[1, 1, 1, 2, 3]) {
        let id = random.one(&["a", "b", "c", "d"]);
        if written.iter().any(|(row, _)| row == id) {
            continue;
        }
        let bad = if random.below(16) == 0 { "BAD" } else { "" };
        let value = format!("{bad}mine {token}.{part}");
        let there = world.note(id, "id").is_some();
        let statement = match (there, random.below(4)) {
            (false, _) => {
                format!("INSERT INTO notes (id, body, t) VALUES ('{id}', '{value}', '');")
            }
            (true, 0) => format!("DELETE FROM notes WHERE id = '{id}';"),
            (true, 1) => format!("UPDATE notes SET t = '{value}' WHERE id = '{id}';"),
            (true, _) => format!("UPDATE notes SET body = '{value}' WHERE id = '{id}';"),
        };
        sql.push_str(&statement);
        written
            .push((id.to_owned(), if statement.contains(&value) { value } else { String::new() }));
    }
    world.run(&sql);
    written
}

fn elsewhere(world: &mut World, random: &mut Random, token: u64) {
    let id = random.one(&["a", "b", "c", "d"]);
    if world.server.cell(id, "body").is_some() && random.below(5) == 0 {
        return world.server.delete(id);
    }
    let column = random.one(&["body", "t"]);
    let mut cells = json!({ column: format!("theirs {token}") });
    if world.server.cell(id, "body").is_none() {
        cells = json!({"body": format!("theirs {token}"), "t": "", "n": null});
    }
    world.server.write(id, &cells);
}

fn step(world: &mut World, random: &mut Random, token: u64) -> Vec<(String, String)> {
    match random.below(12) {
        0..=3 => return edit(world, random, token),
        4 | 5 => elsewhere(world, random, token),
        6..=8 => {
            world.limit = random.one(&[1, 2, 100]);
            let nets = [random.one(&NETS), random.one(&NETS)];
            world.push(&nets);
        }
        9 | 10 => world.pull(random.one(&[1, 2, usize::MAX])),
        _ => world.crash(),
    }
    Vec::new()
}

/// A story of this seed; how many edits were parked though the server has had them.
fn story(seed: u64, with_discards: bool) -> usize {
    let mut random = Random(fastrand::Rng::with_seed(seed));
    let mut world = World::new();
    world.server.still = random.below(4) == 0;
    let mut written: Vec<(String, String)> = Vec::new();
    for token in 0..30 {
        written.extend(step(&mut world, &mut random, token));
        if with_discards && random.below(5) == 0 {
            let waiting: Vec<_> =
                world.queue().into_iter().filter(|one| one.state != State::Parked).collect();
            if let Some(one) = waiting.get(usize::try_from(random.below(3)).unwrap()) {
                world.engine.discard(one.id).unwrap();
            }
        }
    }
    world.limit = 100;
    for _ in 0..4 {
        world.settle();
    }
    let left: Vec<_> = world.queue().into_iter().filter(|one| one.state != State::Parked).collect();
    assert!(left.is_empty(), "seed {seed}: wedged: {left:?}");
    assert!(world.engine.queue.records().is_empty(), "seed {seed}: a record without a verdict");
    let sql =
        "SELECT id || ' ' || coalesce(body, '.') || ' ' || coalesce(t, '.') FROM notes ORDER BY id";
    let text = |cell: Option<serde_json::Value>| {
        cell.and_then(|cell| cell.as_str().map(ToOwned::to_owned)).unwrap_or(".".to_owned())
    };
    let theirs: Vec<String> = world
        .server
        .keys()
        .split_whitespace()
        .map(|id| {
            let (body, t) = (world.server.cell(id, "body"), world.server.cell(id, "t"));
            format!("{id} {} {}", text(body), text(t))
        })
        .collect();
    assert_eq!(world.column(sql), theirs, "seed {seed}: the two differ");
    let parked: HashSet<String> = world
        .parked()
        .iter()
        .flat_map(|one| &one.effect.rows)
        .flat_map(|patch| &patch.columns)
        .filter_map(|column| column.new.as_text().map(ToOwned::to_owned))
        .collect();
    let mut doubtful = 0;
    for (at, (id, value)) in written.iter().enumerate().filter(|(_, (_, value))| !value.is_empty())
    {
        let had = world.server.stored.contains(value);
        let over = written[at + 1..].iter().any(|(other, _)| other == id);
        let kept = parked.contains(value);
        assert!(had || kept || over || with_discards, "seed {seed}: {value:?} of {id} is lost");
        doubtful += usize::from(had && kept);
    }
    doubtful
}

fn seeds() -> u64 {
    std::env::var("REJOIN_PLAIN_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

#[test]
fn nothing_is_lost_nothing_is_wedged_and_both_sides_agree() {
    let mut doubtful = 0;
    for seed in 0..seeds() {
        doubtful += story(seed, false);
    }
    // The residue that no one can decide on such a server: an answer was lost, and then somebody else wrote.
    let few = usize::try_from(seeds() / 5).unwrap();
    assert!(doubtful <= few, "{doubtful} edits were parked though applied");
}

#[test]
fn with_edits_that_are_given_up_at_any_moment_both_sides_agree_as_well() {
    for seed in 0..seeds() {
        story(1_000_000 + seed, true);
    }
}
