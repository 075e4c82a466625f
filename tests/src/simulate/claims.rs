//! Prints the claims of a simulation, line by line: `[ok] 1. ...` for one that holds,
//! `[BROKEN] 1. ...` for one that does not.

use std::fmt::Write as _;

use rejoin_protocol::mutant::Mutant;

use super::{Broken, Model, RARELY, RunReport, Sum, Switch, shrink, tell, worlds};

/// Maximum number of runs to shorten a failed one.
const SHORTER: usize = 400;

/// Number of runs that are executed twice.
const REPEATED: u64 = 20;

/// Simulations with fewer runs need not cover every event.
const FEW: u64 = 400;

/// Number of runs within which a mutation switch must be noticed.
pub(super) const NOTICED: u64 = 4_000;

/// The options of a simulation.
#[derive(Debug, Clone)]
pub struct Order {
    /// The first seed.
    pub from: u64,
    /// Number of seeds.
    pub seeds: u64,
    /// Number of runs at the same time.
    pub threads: usize,
    /// Whether to break each rule as well, one after the other.
    pub mutants: bool,
    /// Breaks only this rule and executes no other run; prints the first run that notices.
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
    if order.every {
        check_every_run(model, order, &mut claims);
    } else if order.only.is_none() {
        check_invariants(model, order, &mut claims);
    }
    for switch in model.switches().iter().filter(wanted) {
        check_mutant(model, order, switch, &mut claims);
    }
    claims.broken == 0 && claims.number > 0
}

fn check_invariants<M: Model>(model: &M, order: &Order, claims: &mut Claims<'_>) {
    let (name, seeds) = (title(model), order.seeds);
    let sum = worlds(model, order.from, seeds, order.threads, None);
    if let Some(broken) = &sum.broken {
        claims.claim(false, &format!("the invariants hold in every run of {name}"));
        (claims.print)(&shortest_trace(model, broken, None));
        return;
    }
    claims.claim(true, &format!("the invariants hold in {} runs of {name}", sum.worlds));
    if seeds >= FEW {
        let least = if seeds >= model.enough() { RARELY } else { 1 };
        let happened = |what: &str| sum.counts.get(what).copied().unwrap_or_default();
        let rare = |what: &&&str| happened(what) < least;
        let missing: Vec<&str> = model.expected().iter().filter(rare).copied().collect();
        let count = model.expected().len();
        let claim = match missing.len() {
            0 => format!("all {count} expected events happened at least {least} times"),
            _ => format!("these happened fewer than {least} times: {}", missing.join(", ")),
        };
        claims.claim(missing.is_empty(), &claim);
        repeats(model, order.from, claims);
    }
    for (what, most) in model.limited() {
        let seen = sum.spread.get(what).copied().unwrap_or_default();
        let holds = seen * 1000 <= most * sum.worlds.max(1) || seeds < FEW;
        let claim = format!("{what}: in {seen} of {} runs, limit {most} of a thousand", sum.worlds);
        claims.claim(holds, &claim);
    }
    (claims.print)(&table(&sum));
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

/// Prints every failed run, a line each.
fn check_every_run<M: Model>(model: &M, order: &Order, claims: &mut Claims<'_>) {
    let end = order.from.saturating_add(order.seeds);
    let mut from = order.from;
    while let Some(broken) = worlds(model, from, end - from, order.threads, None).broken {
        let why = first_line(&broken);
        claims.claim(
            false,
            &format!("the invariants hold in the run of seed {}: {why}", broken.seed),
        );
        from += broken.number;
    }
    claims.claim(true, &format!("completed {} runs of {}", order.seeds, title(model)));
}

fn check_mutant<M: Model>(model: &M, order: &Order, switch: &Switch, claims: &mut Claims<'_>) {
    let Switch { rule, mutant, .. } = switch;
    let sum = worlds(model, order.from, NOTICED, order.threads, Some(switch));
    let Some(broken) = sum.broken else {
        let (worlds, others) = (sum.worlds, sum.passed_over);
        let claim = format!(
            "{rule} without it ({mutant:?}): not noticed in {worlds} runs; failed otherwise: {others:?}"
        );
        return claims.claim(false, &claim);
    };
    let (number, why) = (broken.number, first_line(&broken));
    claims.claim(true, &format!("{rule} without it ({mutant:?}): noticed in run {number}: {why}"));
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
