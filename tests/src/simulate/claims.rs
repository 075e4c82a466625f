//! Prints the claims of a simulation, line by line: `[ok] 1. ...` for one that holds,
//! `[BROKEN] 1. ...` for one that does not.

use std::fmt::Write as _;

use rejoin_protocol::mutant::Mutant;

use super::{
    FailedRun, MIN_OCCURRENCES, Model, RunReport, RunTotals, Switch, execute_run, execute_runs,
    shrink,
};

/// Maximum number of runs to shorten a failed one.
const MAX_SHRINK_RUNS: usize = 400;

/// Number of runs that are executed twice more.
const REPEATED_RUNS: u64 = 10;

/// Added to the limit of an event: in few runs it happens more often by chance.
const CHANCE_MARGIN: u64 = 3;

/// Number of runs within which a mutation switch must be noticed.
pub(super) const MAX_MUTANT_RUNS: u64 = 4_000;

/// The options of a simulation.
#[derive(Debug, Clone)]
pub struct SimulationOptions {
    /// The first seed.
    pub from: u64,
    /// Number of seeds. From [`Model::coverage_runs`] on, each expected event must happen
    /// [`MIN_OCCURRENCES`] times.
    pub seeds: u64,
    /// Whether fewer seeds must have each expected event too: once, in as many further runs as that
    /// needs, up to [`Model::coverage_runs`].
    pub events: bool,
    /// Number of runs at the same time.
    pub threads: usize,
    /// Whether to break each rule as well, one after the other.
    pub mutants: bool,
    /// Breaks only this rule and executes no other run; prints a run that notices.
    pub only: Option<String>,
    /// Whether to continue after a failed run; then no trace is printed.
    pub every: bool,
}

/// Prints claims and counts those that do not hold.
struct Claims<'p> {
    print: &'p mut dyn FnMut(&str),
    number: u32,
    failed: u32,
}

impl Claims<'_> {
    fn claim(&mut self, holds: bool, claim: &str) {
        self.number += 1;
        self.failed += u32::from(!holds);
        let mark = if holds { "[ok]" } else { "[BROKEN]" };
        (self.print)(&format!("{mark} {}. {claim}", self.number));
    }
}

/// Simulates, and passes each line to `print` as soon as it is complete. Returns whether every
/// claim holds.
pub fn simulate<M: Model>(
    model: &M,
    options: &SimulationOptions,
    print: &mut dyn FnMut(&str),
) -> bool {
    let mut claims = Claims { print, number: 0, failed: 0 };
    let wanted = |switch: &&Switch| match &options.only {
        Some(only) => *only == switch.rule || *only == format!("{:?}", switch.mutant),
        None => options.mutants,
    };
    if options.only.is_none() {
        check_invariants(model, options, &mut claims);
    }
    for switch in model.switches().iter().filter(wanted) {
        check_mutant(model, options, switch, &mut claims);
    }
    claims.failed == 0 && claims.number > 0
}

fn check_invariants<M: Model>(model: &M, options: &SimulationOptions, claims: &mut Claims<'_>) {
    let is_long = options.seeds >= model.coverage_runs();
    let least = if is_long { MIN_OCCURRENCES } else { u64::from(options.events) };
    let mut totals = RunTotals::default();
    let (mut from, mut left) = (options.from, options.seeds);
    while left > 0 {
        let more = execute_runs(model, from, left, options.threads, None);
        let runs = more.failed.as_ref().map_or(left, |failed| failed.number);
        (from, left) = (from + runs, left - runs);
        totals.add(more);
        if let Some(failed) = totals.failed.take() {
            let (seed, why) = (failed.seed, first_line(&failed));
            claims.claim(false, &format!("the invariants hold in the run of seed {seed}: {why}"));
            if !options.every {
                return (claims.print)(&shortest_trace(model, &failed, None));
            }
        } else if totals.runs < model.coverage_runs() && !missing(model, &totals, least).is_empty()
        {
            left = options.seeds.div_ceil(5);
        }
    }
    let (runs, name) = (from - options.from, title(model));
    let done = if claims.failed == 0 { "the invariants hold in" } else { "completed" };
    claims.claim(true, &format!("{done} {runs} runs of {name}"));
    if least > 0 {
        check_events(model, &totals, least, claims);
        check_repeatability(model, options.from, claims);
    }
    for (what, most) in model.limited_events() {
        let seen = totals.run_counts.get(what).copied().unwrap_or_default();
        let limit = CHANCE_MARGIN + runs * most / 1000;
        claims.claim(seen <= limit, &format!("{what}: in {seen} of {runs} runs, limit {limit}"));
    }
    if !options.every {
        (claims.print)(&table(&totals));
    }
}

/// The expected events that happened less often than this.
fn missing<M: Model>(model: &M, totals: &RunTotals, least: u64) -> Vec<&'static str> {
    let happened = |what: &str| totals.counts.get(what).copied().unwrap_or_default();
    model.expected_events().iter().filter(|what| happened(what) < least).copied().collect()
}

fn check_events<M: Model>(model: &M, totals: &RunTotals, least: u64, claims: &mut Claims<'_>) {
    let (count, missing) = (model.expected_events().len(), missing(model, totals, least));
    let claim = match missing.len() {
        0 => format!("all {count} expected events happened at least {least} times"),
        _ => format!("these happened fewer than {least} times: {}", missing.join(", ")),
    };
    claims.claim(missing.is_empty(), &claim);
}

/// The model with its arguments on the command line.
fn title<M: Model>(model: &M) -> String {
    format!("{}{}", model.name(), model.arguments())
}

/// Checks that the same seed gives the same trace; otherwise a failed run could not be repeated.
fn check_repeatability<M: Model>(model: &M, from: u64, claims: &mut Claims<'_>) {
    let trace = |seed| {
        let mut report = RunReport::with_trace();
        let ended = execute_run(model, seed, &model.steps(seed), None, &mut report);
        (report, ended)
    };
    let other = (from..from + REPEATED_RUNS).find_map(|seed| {
        let [(first, one), (second, other)] = [trace(seed), trace(seed)];
        let lines = first.lines().iter().zip(second.lines()).find(|(one, other)| one != other);
        (first != second || one != other).then_some(format!("{seed}: {lines:?}"))
    });
    let claim = match &other {
        None => format!("{REPEATED_RUNS} runs have the same trace when repeated"),
        Some(other) => format!("another trace when repeated, seed {other}"),
    };
    claims.claim(other.is_none(), &claim);
}

/// Tries the stored seed, and all others if the rule is not noticed there.
fn check_mutant<M: Model>(
    model: &M,
    options: &SimulationOptions,
    switch: &Switch,
    claims: &mut Claims<'_>,
) {
    let Switch { rule, mutant, seed, .. } = switch;
    let mut totals = execute_runs(model, *seed, 1, 1, Some(switch));
    if totals.failed.is_none() {
        totals = execute_runs(model, options.from, MAX_MUTANT_RUNS, options.threads, Some(switch));
    }
    let Some(failed) = totals.failed else {
        let (runs, others) = (totals.runs, totals.other_failures);
        let claim = format!(
            "{rule} without it ({mutant:?}): not noticed in {runs} runs; failed otherwise: {others:?}"
        );
        return claims.claim(false, &claim);
    };
    let (found, why) = (failed.seed, first_line(&failed));
    let stale =
        if found == *seed { String::new() } else { format!(", no longer in that of {seed}") };
    let claim =
        format!("{rule} without it ({mutant:?}): noticed in the run of seed {found}{stale}: {why}");
    claims.claim(true, &claim);
    if options.only.is_some() {
        (claims.print)(&shortest_trace(model, &failed, Some(*mutant)));
    }
}

fn first_line(failed: &FailedRun) -> String {
    failed.why.to_string().lines().next().unwrap_or_default().chars().take(160).collect()
}

/// The shortest trace of a failed run.
fn shortest_trace<M: Model>(model: &M, failed: &FailedRun, mutant: Option<Mutant>) -> String {
    let steps = model.steps(failed.seed);
    let short = shrink(model, failed.seed, &steps, mutant, MAX_SHRINK_RUNS);
    let mut report = RunReport::with_trace();
    let ending = execute_run(model, failed.seed, &short, mutant, &mut report);
    let mut text = format!("seed {}, {} of {} steps:\n", failed.seed, short.len(), steps.len());
    for line in report.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    let _ = match ending {
        Err(why) => writeln!(text, "  {why}"),
        Ok(()) => writeln!(text, "  holds when repeated; before: {}", failed.why),
    };
    let (name, seed) = (title(model), failed.seed);
    let _ = write!(text, "repeat: cargo xtask simulate --model {name} --seeds 1 --from {seed}");
    if let Some(mutant) = mutant {
        let _ = write!(text, " --mutant {mutant:?}");
    }
    text
}

fn table(totals: &RunTotals) -> String {
    let rows = totals.counts.iter().map(|(what, times)| {
        let runs = totals.run_counts.get(what).copied().unwrap_or_default();
        format!("  {what:<44}{times:>9} times in {runs:>6} runs")
    });
    rows.collect::<Vec<_>>().join("\n")
}
