//! Two interactive transactions, a writer, a watch, suspend and shutdown, in every order.
//!
//! Each order runs against a model that defines the response of every step. Afterwards rows, queue
//! and watch must equal those of the committed transactions, whole, and no caller may be left
//! waiting. A watchdog ends hangs.

use rejoin_tests::cases;

mod fixture;
mod model;

use fixture::Fixture;
use model::*;

/// Every possible step.
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

/// The chosen step at each position, with the number of possible ones: counts through every order.
#[derive(Default)]
struct Orders(Vec<(usize, usize)>);

impl Orders {
    /// The step at `place` among the possible ones.
    fn choose(&mut self, place: usize, possible: &[Step]) -> Step {
        if self.0.len() == place {
            self.0.push((0, possible.len()));
        }
        possible[self.0[place].0]
    }

    /// Advances to the next order; false after the last.
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

/// Runs every order of `length` steps after the first ones; returns the number of orders.
fn run_all(length: usize, first: &[Step]) -> usize {
    let mut orders = Orders::default();
    let mut fixture = Fixture::new();
    let mut count = 0;
    loop {
        let mut model = Model::new();
        let mut printed = PrintedOrder(Vec::new());
        for step in first {
            printed.0.push(*step);
            fixture.execute(&mut model, *step);
        }
        let mut after_end = 0;
        for place in 0..length {
            let possible: Vec<Step> = STEPS.into_iter().filter(|step| model.can(*step)).collect();
            let step = orders.choose(place, &possible);
            printed.0.push(step);
            fixture.execute(&mut model, step);
            after_end += usize::from(model.state == ClientState::Ended);
            // After the client has ended, one response is as good as several.
            if after_end == 2 {
                break;
            }
        }
        if !fixture.clear(&mut model) {
            fixture = Fixture::new();
        }
        printed.0.clear();
        count += 1;
        if !orders.advance() {
            return count;
        }
    }
}

/// Prints the order that failed.
struct PrintedOrder(Vec<Step>);

impl Drop for PrintedOrder {
    #[allow(clippy::print_stderr)] // Beside the panic's own message.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the order: {:?}", self.0);
        }
    }
}

/// Whether this is a deep run, with longer orders.
fn is_deep() -> bool {
    cases(1) > 1
}

#[test]
fn every_order_of_four_steps_matches_the_model() {
    let (length, orders) = if is_deep() { (5, 7_663) } else { (4, 1_076) };
    assert_eq!(run_all(length, &[]), orders, "orders were run");
}

#[test]
fn every_order_of_three_steps_after_a_begin_matches_the_model() {
    let (length, orders) = if is_deep() { (4, 8_192) } else { (3, 918) };
    let first = [Begin(0), Statement(0), Begin(1), Write];
    assert_eq!(run_all(length, &first), orders, "orders were run");
}
