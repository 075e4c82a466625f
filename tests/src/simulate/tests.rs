//! Tests of the harness with a model of numbers: a run fails when it contains a 3 and, later, a 5.

use std::sync::atomic::{AtomicU64, Ordering};

use rejoin_protocol::mutant::Mutant::{BaseNotFolded, RecordThawed, RestNotKept};
use rejoin_protocol::mutant::on;

use super::claims::MAX_MUTANT_RUNS;
use super::{Checked, Model, RunReport, SimulationOptions, Switch, broken, shrink, simulate};

#[derive(Default)]
struct Numbers {
    breaks: bool,
    /// Whether each trace contains a number that is in no other.
    drifts: bool,
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

    fn coverage_runs(&self) -> u64 {
        500
    }

    fn execute(&self, _: u64, steps: &[u64], report: &mut RunReport) -> Checked {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        if self.drifts {
            report.trace(|| RUNS.fetch_add(1, Ordering::Relaxed).to_string());
        }
        let mut three = false;
        for step in steps {
            report.trace(|| format!("met {step}"));
            report.count(if step % 2 == 0 { "even" } else { "odd" });
            three |= *step == 3;
            if *step == 150 {
                report.count("150");
            }
            if self.breaks && three && *step == 5 {
                return broken!("no-5-after-3", "a 5 after a 3");
            }
            if *step == 700 && on(RestNotKept) {
                return broken!("no-700", "700");
            }
            assert!(*step != 800 || !on(RecordThawed), "800");
        }
        Ok(())
    }

    fn expected_events(&self) -> &'static [&'static str] {
        self.expected
    }

    fn limited_events(&self) -> &'static [(&'static str, u64)] {
        &[("odd", 1000)]
    }

    fn switches(&self) -> &'static [Switch] {
        const NOTICED_BY: &[&str] = &["no-700"];
        &[
            Switch { rule: "P7", mutant: RestNotKept, seed: 700, noticed_by: NOTICED_BY },
            Switch { rule: "P8", mutant: RestNotKept, seed: 1, noticed_by: NOTICED_BY },
            Switch { rule: "P4", mutant: BaseNotFolded, seed: 1, noticed_by: NOTICED_BY },
            Switch { rule: "P2", mutant: RecordThawed, seed: 800, noticed_by: NOTICED_BY },
        ]
    }
}

/// The claims of so many runs.
const FEW: SimulationOptions = SimulationOptions {
    from: 0,
    seeds: 100,
    events: false,
    threads: 2,
    mutants: false,
    only: None,
    every: false,
};

fn simulated(model: &Numbers, mutants: bool) -> (bool, String) {
    simulated_by(model, &SimulationOptions { seeds: 600, mutants, ..FEW })
}

fn simulated_by(model: &Numbers, options: &SimulationOptions) -> (bool, String) {
    let mut text = String::new();
    let holds = simulate(model, options, &mut |line| text = format!("{text}{line}\n"));
    (holds, text)
}

#[test]
fn failed_run_shrinks_to_the_failing_steps() {
    let model = Numbers { breaks: true, ..Numbers::default() };
    assert_eq!(shrink(&model, 0, &model.steps(0), None, 100), [3, 5]);
    let (holds, text) = simulated(&model, false);
    assert!(!holds);
    assert!(text.contains("2 of 9 steps:\n  met 3\n  met 5\n"), "{text}");
    assert!(text.contains("a 5 after a 3"), "{text}");
    assert!(text.contains("--model numbers --seeds 1 --from "), "{text}");
}

#[test]
fn successful_run_is_not_shrunk() {
    let model = Numbers::default();
    assert_eq!(shrink(&model, 0, &model.steps(0), None, 100), model.steps(0));
    assert!(simulated(&model, false).0);
}

#[test]
fn mutant_is_noticed_by_a_named_invariant_only() {
    let (holds, text) = simulated(&Numbers::default(), true);
    assert!(!holds);
    for found in [
        "P7 without it (RestNotKept): noticed in the run of seed 700: no-700",
        "P8 without it (RestNotKept): noticed in the run of seed 692, no longer in that of 1: no-700",
    ] {
        assert!(text.contains(found), "{text}");
    }
    let missed = format!("P4 without it (BaseNotFolded): not noticed in {MAX_MUTANT_RUNS} runs");
    assert!(text.contains(&missed), "{text}");
    let panics = format!("P2 without it (RecordThawed): not noticed in {MAX_MUTANT_RUNS} runs");
    assert!(text.contains(&panics) && text.contains(r#"{"unexpected": 9}"#), "{text}");
}

#[test]
fn expected_event_that_never_happens_breaks_a_claim() {
    assert!(simulated(&Numbers { expected: &["odd", "even"], ..Numbers::default() }, false).0);
    let (holds, text) =
        simulated(&Numbers { expected: &["odd", "prime"], ..Numbers::default() }, false);
    assert!(!holds);
    assert!(text.contains("these happened fewer than 5 times: prime"), "{text}");
}

#[test]
fn missing_event_is_searched_in_further_runs() {
    let with = |expected| Numbers { expected, ..Numbers::default() };
    let events = SimulationOptions { events: true, ..FEW };
    let (holds, text) = simulated_by(&with(&["odd", "150"]), &events);
    assert!(holds && text.contains("the invariants hold in 160 runs"), "{text}");
    assert!(text.contains("all 2 expected events happened at least 1 times"), "{text}");
    let (holds, text) = simulated_by(&with(&["odd", "prime"]), &events);
    assert!(!holds && text.contains("the invariants hold in 500 runs"), "{text}");
    assert!(text.contains("these happened fewer than 1 times: prime"), "{text}");
    assert!(simulated_by(&with(&["prime"]), &FEW).0);
}

#[test]
fn run_with_another_trace_when_repeated_is_named() {
    let (holds, text) = simulated(&Numbers { drifts: true, ..Numbers::default() }, false);
    assert!(!holds);
    assert!(text.contains("seed 0: Some((\"0\", \"1\"))"), "{text}");
}

#[test]
fn option_every_names_each_failed_run() {
    let model = Numbers { breaks: true, ..Numbers::default() };
    let options = SimulationOptions { seeds: 20, every: true, ..FEW };
    let mut lines = Vec::new();
    assert!(!simulate(&model, &options, &mut |line| lines.push(line.to_owned())));
    // The runs of seeds 0 to 3 contain a 3, and then a 5.
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(
        lines[3].starts_with("[BROKEN] 4. the invariants hold in the run of seed 3:"),
        "{lines:?}"
    );
    assert_eq!(lines[4], "[ok] 5. completed 20 runs of numbers");
    assert_eq!(lines[5], "[ok] 6. odd: in 20 of 20 runs, limit 23");
}
