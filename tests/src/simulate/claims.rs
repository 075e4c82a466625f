//! Prints the claims of a simulation, line by line: `[ok] 1. ...` for one that holds,
//! `[BROKEN] 1. ...` for one that does not.

use std::fmt::Write as _;

use rejoin_protocol::mutant::Mutant;

use super::{Broken, Model, RARELY, RunReport, Sum, Switch, shrink, tell, worlds};

/// Maximum number of runs to shorten a failed one.
const SHORTER: usize = 400;

/// Number of runs that are executed twice more.
const REPEATED: u64 = 10;

/// Added to the limit of an event: in few runs it happens more often by chance.
const BY_CHANCE: u64 = 3;

/// Number of runs within which a mutation switch must be noticed.
pub(super) const NOTICED: u64 = 4_000;

/// The options of a simulation.
#[derive(Debug, Clone)]
pub struct Order {
    /// The first seed.
    pub from: u64,
    /// Number of seeds. From [`Model::enough`] on, each expected event must happen [`RARELY`] times.
    pub seeds: u64,
    /// Whether fewer seeds must have each expected event too: once, in as many further runs as that
    /// needs, up to [`Model::enough`].
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
    broken: u32,
}

impl Claims<'_> {
    fn claim(&mut self, holds: bool, claim: &str) {
        self.number += 1;
        self.broken += u32::from(!holds);
        let mark = if holds { "[ok]" } else { "[BROKEN]" };
        (self.print)(&format!("{mark} {}. {claim}", self.number));
    }
}

/// Simulates, and passes each line to `print` as soon as it is complete. Returns whether every
/// claim holds.
pub fn simulate<M: Model>(model: &M, order: &Order, print: &mut dyn FnMut(&str)) -> bool {
    let mut claims = Claims { print, number: 0, broken: 0 };
    let wanted = |switch: &&Switch| match &order.only {
        Some(only) => *only == switch.rule || *only == format!("{:?}", switch.mutant),
        None => order.mutants,
    };
    if order.only.is_none() {
        check_invariants(model, order, &mut claims);
    }
    for switch in model.switches().iter().filter(wanted) {
        check_mutant(model, order, switch, &mut claims);
    }
    claims.broken == 0 && claims.number > 0
}

fn check_invariants<M: Model>(model: &M, order: &Order, claims: &mut Claims<'_>) {
    let is_long = order.seeds >= model.enough();
    let least = if is_long { RARELY } else { u64::from(order.events) };
    let mut sum = Sum::default();
    let (mut from, mut left) = (order.from, order.seeds);
    while left > 0 {
        let more = worlds(model, from, left, order.threads, None);
        let runs = more.broken.as_ref().map_or(left, |broken| broken.number);
        (from, left) = (from + runs, left - runs);
        sum.add(more);
        if let Some(broken) = sum.broken.take() {
            let (seed, why) = (broken.seed, first_line(&broken));
            claims.claim(false, &format!("the invariants hold in the run of seed {seed}: {why}"));
            if !order.every {
                return (claims.print)(&shortest_trace(model, &broken, None));
            }
        } else if sum.worlds < model.enough() && !missing(model, &sum, least).is_empty() {
            left = order.seeds.div_ceil(5);
        }
    }
    let (runs, name) = (from - order.from, title(model));
    let done = if claims.broken == 0 { "the invariants hold in" } else { "completed" };
    claims.claim(true, &format!("{done} {runs} runs of {name}"));
    if least > 0 {
        check_events(model, &sum, least, claims);
        repeats(model, order.from, claims);
    }
    for (what, most) in model.limited() {
        let seen = sum.spread.get(what).copied().unwrap_or_default();
        let limit = BY_CHANCE + runs * most / 1000;
        claims.claim(seen <= limit, &format!("{what}: in {seen} of {runs} runs, limit {limit}"));
    }
    if !order.every {
        (claims.print)(&table(&sum));
    }
}

/// The expected events that happened less often than this.
fn missing<M: Model>(model: &M, sum: &Sum, least: u64) -> Vec<&'static str> {
    let happened = |what: &str| sum.counts.get(what).copied().unwrap_or_default();
    model.expected().iter().filter(|what| happened(what) < least).copied().collect()
}

fn check_events<M: Model>(model: &M, sum: &Sum, least: u64, claims: &mut Claims<'_>) {
    let (count, missing) = (model.expected().len(), missing(model, sum, least));
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
fn repeats<M: Model>(model: &M, from: u64, claims: &mut Claims<'_>) {
    let trace = |seed| {
        let mut report = RunReport::telling();
        let ended = tell(model, seed, &model.steps(seed), None, &mut report);
        (report, ended)
    };
    let other = (from..from + REPEATED).find_map(|seed| {
        let [(first, one), (second, other)] = [trace(seed), trace(seed)];
        let lines = first.lines().iter().zip(second.lines()).find(|(one, other)| one != other);
        (first != second || one != other).then_some(format!("{seed}: {lines:?}"))
    });
    let claim = match &other {
        None => format!("{REPEATED} runs have the same trace when repeated"),
        Some(other) => format!("another trace when repeated, seed {other}"),
    };
    claims.claim(other.is_none(), &claim);
}

/// Tries the stored seed, and all others if the rule is not noticed there.
fn check_mutant<M: Model>(model: &M, order: &Order, switch: &Switch, claims: &mut Claims<'_>) {
    let Switch { rule, mutant, seed, .. } = switch;
    let mut sum = worlds(model, *seed, 1, 1, Some(switch));
    if sum.broken.is_none() {
        sum = worlds(model, order.from, NOTICED, order.threads, Some(switch));
    }
    let Some(broken) = sum.broken else {
        let (worlds, others) = (sum.worlds, sum.passed_over);
        let claim = format!(
            "{rule} without it ({mutant:?}): not noticed in {worlds} runs; failed otherwise: {others:?}"
        );
        return claims.claim(false, &claim);
    };
    let (found, why) = (broken.seed, first_line(&broken));
    let stale =
        if found == *seed { String::new() } else { format!(", no longer in that of {seed}") };
    let claim =
        format!("{rule} without it ({mutant:?}): noticed in the run of seed {found}{stale}: {why}");
    claims.claim(true, &claim);
    if order.only.is_some() {
        (claims.print)(&shortest_trace(model, &broken, Some(*mutant)));
    }
}

fn first_line(broken: &Broken) -> String {
    broken.why.to_string().lines().next().unwrap_or_default().chars().take(160).collect()
}

/// The shortest trace of a failed run.
fn shortest_trace<M: Model>(model: &M, broken: &Broken, mutant: Option<Mutant>) -> String {
    let steps = model.steps(broken.seed);
    let short = shrink(model, broken.seed, &steps, mutant, SHORTER);
    let mut report = RunReport::telling();
    let ending = tell(model, broken.seed, &short, mutant, &mut report);
    let mut text = format!("seed {}, {} of {} steps:\n", broken.seed, short.len(), steps.len());
    for line in report.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    let _ = match ending {
        Err(why) => writeln!(text, "  {why}"),
        Ok(()) => writeln!(text, "  holds when repeated; before: {}", broken.why),
    };
    let (name, seed) = (title(model), broken.seed);
    let _ = write!(text, "repeat: cargo xtask simulate --model {name} --seeds 1 --from {seed}");
    if let Some(mutant) = mutant {
        let _ = write!(text, " --mutant {mutant:?}");
    }
    text
}

fn table(sum: &Sum) -> String {
    let rows = sum.counts.iter().map(|(what, times)| {
        let worlds = sum.spread.get(what).copied().unwrap_or_default();
        format!("  {what:<44}{times:>9} times in {worlds:>6} runs")
    });
    rows.collect::<Vec<_>>().join("\n")
}
