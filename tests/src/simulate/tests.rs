//! The harness with a model of numbers: a world breaks when it has met a 3 and, later, a 5.

use rejoin_core::mutant::{Mutant, on};

use super::claims::NOTICED;
use super::{Model, Order, Rule, Told, shrink, simulate};

struct Numbers {
    breaks: bool,
    expected: &'static [&'static str],
}

impl Model for Numbers {
    type Step = u64;

    fn name(&self) -> &'static str {
        "numbers"
    }

    fn steps(&self, seed: u64) -> Vec<u64> {
        (seed..seed + 9).collect()
    }

    fn live(&self, _: u64, steps: &[u64], told: &mut Told) -> Result<(), String> {
        let mut three = false;
        for step in steps {
            told.say(|| format!("met {step}"));
            told.count(if step % 2 == 0 { "even" } else { "odd" });
            three |= *step == 3;
            assert!(!(self.breaks && three && *step == 5), "a 5 after a 3");
            if *step == 700 && on(Mutant::NoReach) {
                return Err("700".to_owned());
            }
        }
        Ok(())
    }

    fn expected(&self) -> &'static [&'static str] {
        self.expected
    }

    fn limited(&self) -> &'static [(&'static str, u64)] {
        &[("odd", 1000)]
    }

    fn mutants(&self) -> &'static [(&'static str, Rule)] {
        &[("P9", Rule::Engine(Mutant::NoReach)), ("P4", Rule::Engine(Mutant::BaseNotFolded))]
    }
}

fn told(model: &Numbers, mutants: bool) -> (bool, String) {
    let order = Order { from: 0, seeds: 600, threads: 2, mutants, only: None, every: false };
    let mut text = String::new();
    let holds = simulate(model, &order, &mut |line| text = format!("{text}{line}\n"));
    (holds, text)
}

#[test]
fn a_broken_world_is_shrunken_to_the_steps_that_break_it() {
    let model = Numbers { breaks: true, expected: &[] };
    assert_eq!(shrink(&model, 0, &model.steps(0), None, 100), [3, 5]);
    let (holds, text) = told(&model, false);
    assert!(!holds);
    assert!(text.contains("2 of 9 steps:\n  met 3\n  met 5\n"), "{text}");
    assert!(text.contains("a 5 after a 3"), "{text}");
    assert!(text.contains("--model numbers --seeds 1 --from "), "{text}");
}

#[test]
fn a_world_that_holds_is_not_shrunken() {
    let model = Numbers { breaks: false, expected: &[] };
    assert_eq!(shrink(&model, 0, &model.steps(0), None, 100), model.steps(0));
    assert!(told(&model, false).0);
}

#[test]
fn a_rule_that_nobody_misses_is_a_broken_claim() {
    let (holds, text) = told(&Numbers { breaks: false, expected: &[] }, true);
    assert!(!holds);
    assert!(text.contains("P9 without it (NoReach): noticed in world "), "{text}");
    let missed = format!("P4 without it (BaseNotFolded): not noticed in {NOTICED} worlds");
    assert!(text.contains(&missed), "{text}");
}

#[test]
fn what_never_happened_is_a_broken_claim() {
    assert!(told(&Numbers { breaks: false, expected: &["odd", "even"] }, false).0);
    let (holds, text) = told(&Numbers { breaks: false, expected: &["odd", "prime"] }, false);
    assert!(!holds);
    assert!(text.contains("these never happened: prime"), "{text}");
}

#[test]
fn each_broken_world_is_named_if_it_is_asked_to_go_on() {
    let model = Numbers { breaks: true, expected: &[] };
    let order = Order { from: 0, seeds: 20, threads: 2, mutants: false, only: None, every: true };
    let mut lines = Vec::new();
    assert!(!simulate(&model, &order, &mut |line| lines.push(line.to_owned())));
    // Worlds of 0 to 3 meet a 3, and then a 5.
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[3].starts_with("[BROKEN] 4. the law holds in the world of 3:"), "{lines:?}");
    assert_eq!(lines[4], "[ok] 5. to the end of 20 worlds of numbers");
}
