//! Two holders of transactions, a writer, a watch, suspend and shutdown, in every order.
//!
//! Each order is run against a model that says what every step answers. Afterwards rows, queue and watch must be those of the
//! transactions that were committed, whole, and nobody may be left waiting. A watchdog ends what hangs.

use rejoin_tests::cases;

mod model;
mod stage;

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
fn run_all(length: usize, first: &[Step]) -> usize {
    let mut orders = Orders::default();
    let mut stage = Stage::new();
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
            let possible: Vec<Step> = STEPS.into_iter().filter(|step| model.can(*step)).collect();
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
            stage = Stage::new();
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

/// Whether a deep run asks for longer orders.
fn is_deep() -> bool {
    cases(1) > 1
}

#[test]
fn every_order_of_four_steps_answers_as_the_model_says() {
    let (length, orders) = if is_deep() { (5, 7_663) } else { (4, 1_076) };
    assert_eq!(run_all(length, &[]), orders, "orders were run");
}

#[test]
fn every_order_of_three_steps_behind_a_holder_answers_as_the_model_says() {
    let (length, orders) = if is_deep() { (4, 8_192) } else { (3, 918) };
    let first = [Begin(0), Statement(0), Begin(1), Write];
    assert_eq!(run_all(length, &first), orders, "orders were run");
}
