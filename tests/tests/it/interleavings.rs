//! Two holders of transactions, a writer, a watch and the device's life, in every order there is.
//!
//! Each order is run against a model that says what every step answers. Afterwards rows, queue and watch must be those of the
//! transactions that were committed, whole, and nobody may be left waiting. A watchdog ends what hangs.

use std::time::Duration;

mod model;
mod stage;
mod tossed;

use model::*;
use stage::Stage;

/// Every step that somebody may take at all.
const STEPS: [Step; 16] = [
    Begin(0),
    Begin(1),
    Statement(0),
    Statement(1),
    Commit(0),
    Commit(1),
    Rollback(0),
    Rollback(1),
    Abandon(0),
    Abandon(1),
    Write,
    Query,
    Suspend,
    Resume,
    Shutdown,
    Silence,
];

/// Every step that a holder may take with its own transaction and the parts of it, and what may end that meanwhile.
const PARTS: [Step; 9] = [
    Statement(0),
    Part(0),
    Release(0),
    Undo(0),
    Cross(0),
    Commit(0),
    Rollback(0),
    Suspend,
    Silence,
];

/// Which of the possible steps is taken at each place, and how many there were: counts through every order.
#[derive(Default)]
struct Orders(Vec<(usize, usize)>);

impl Orders {
    /// The step at `place`, of those that are possible there.
    fn choose(&mut self, place: usize, possible: &[Step]) -> Step {
        if self.0.len() == place {
            self.0.push((0, possible.len()));
        }
        possible[self.0[place].0]
    }

    /// Goes on to the next order; false after the last.
    fn advance(&mut self) -> bool {
        while let Some((taken, possible)) = self.0.pop() {
            if taken + 1 < possible {
                self.0.push((taken + 1, possible));
                return true;
            }
        }
        false
    }
}

/// Runs every order of so many of the steps, after the first ones; how many there were.
fn run_all(steps: &[Step], length: usize, first: &[Step], patience: Duration) -> usize {
    let mut orders = Orders::default();
    let mut stage = Stage::new(patience);
    let mut count = 0;
    loop {
        let mut model = Model::new();
        let mut told = Told(Vec::new());
        for step in first {
            told.0.push(*step);
            stage.take(&mut model, *step);
        }
        let mut after_end = 0;
        for place in 0..length {
            let possible: Vec<Step> =
                steps.iter().copied().filter(|step| model.can(*step)).collect();
            let step = orders.choose(place, &possible);
            told.0.push(step);
            stage.take(&mut model, step);
            after_end += usize::from(model.life == Life::Ended);
            // Of a client that has ended one answer is as good as several.
            if after_end == 2 {
                break;
            }
        }
        if !stage.clear(&mut model) {
            stage = Stage::new(patience);
        }
        told.0.clear();
        count += 1;
        if !orders.advance() {
            return count;
        }
    }
}

/// Says which order it was that failed.
struct Told(Vec<Step>);

impl Drop for Told {
    #[allow(clippy::print_stderr)] // Beside the panic's own words.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the order: {:?}", self.0);
        }
    }
}

/// Nobody waits longer; whoever does has hung.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn every_order_of_five_steps_answers_as_the_model_says() {
    assert_eq!(run_all(&STEPS, 5, &[], PATIENCE), 7_663, "orders were run");
}

#[test]
fn every_order_of_four_steps_where_three_wait_already_answers_as_the_model_says() {
    assert_eq!(
        run_all(&STEPS, 4, &[Begin(0), Statement(0), Begin(1), Write], PATIENCE),
        8_192,
        "orders were run"
    );
}

#[test]
fn every_order_of_four_steps_with_savepoints_answers_as_the_model_says() {
    let first = [Begin(0), Statement(0), Part(0), Statement(0), Write];
    assert_eq!(run_all(&PARTS, 4, &first, PATIENCE), 4_391, "orders were run");
}

#[test]
fn whatever_is_begun_at_once_is_answered_and_leaves_nothing_half_written() {
    let steps = [
        Begin(0),
        Statement(0),
        Commit(0),
        Rollback(0),
        Part(0),
        Abandon(0),
        Write,
        Query,
        Suspend,
        Resume,
        Shutdown,
        Silence,
    ];
    let mut count = 0;
    let mut stage = Stage::new(PATIENCE);
    for first in steps {
        for second in steps {
            for third in steps {
                let order = [first, second, third];
                let told = Told(order.to_vec());
                stage.tossed(order);
                drop(told);
                if order.contains(&Shutdown) {
                    stage = Stage::new(PATIENCE);
                }
                count += 1;
            }
        }
    }
    assert_eq!(count, 12 * 12 * 12);
}
