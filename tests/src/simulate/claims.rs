//! What a simulation claims, line by line: `[ok] 1. ...` for what held, `[BROKEN] 1. ...` for what did not.

use std::fmt::Write as _;

use super::{Broken, Model, Sum, Told, hunt, shrink, tell, worlds};

/// Worlds that are lived at most to make a broken one short.
const SHORTER: usize = 400;

/// Worlds in which a broken rule must be noticed at the latest.
pub(super) const NOTICED: u64 = 4_000;

/// What is to be simulated.
#[derive(Debug, Clone)]
pub struct Order {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Worlds lived at the same time.
    pub threads: usize,
    /// Whether the rules are broken too, one after the other.
    pub mutants: bool,
    /// Only this rule is broken, and no other world is lived; its first world that notices is told.
    pub only: Option<String>,
    /// Whether it goes on after a broken world, whose story is not told then.
    pub every: bool,
}

/// Claims and whether they held.
#[derive(Debug, Default)]
pub struct Claims {
    number: u32,
    broken: u32,
}

impl Claims {
    /// Whether all held.
    pub fn hold(&self) -> bool {
        self.broken == 0 && self.number > 0
    }

    /// The line of the next claim.
    pub fn line(&mut self, holds: bool, claim: &str) -> String {
        self.number += 1;
        self.broken += u32::from(!holds);
        let mark = if holds { "[ok]" } else { "[BROKEN]" };
        format!("{mark} {}. {claim}", self.number)
    }
}

/// Simulates, and hands each line to `print` as soon as it is known; whether every claim held.
pub fn simulate<M: Model>(model: &M, order: &Order, print: &mut dyn FnMut(&str)) -> bool {
    let mut claims = Claims::default();
    if order.every {
        every(model, order, &mut claims, print);
        return claims.hold();
    }
    if order.only.is_none() {
        all_hold(model, order, &mut claims, print);
    }
    if order.mutants || order.only.is_some() {
        all_noticed(model, order, &mut claims, print);
    }
    claims.hold()
}

fn all_hold<M: Model>(model: &M, order: &Order, claims: &mut Claims, print: &mut dyn FnMut(&str)) {
    let Order { from, seeds, threads, .. } = *order;
    let sum = worlds(model, from, seeds, threads, None);
    if let Some(broken) = &sum.broken {
        let name = model.name();
        print(&claims.line(false, &format!("the law holds in every world of {name}")));
        print(&story(model, broken, None));
        return;
    }
    print(
        &claims.line(true, &format!("the law holds in {} worlds of {}", sum.worlds, model.name())),
    );
    // A single world need not have everything in it.
    if seeds >= 500 {
        print(&happened(model, &sum, claims));
    }
    for (what, most) in model.limited() {
        let seen = sum.spread.get(what).copied().unwrap_or_default();
        let holds = seen * 1000 <= most * sum.worlds.max(1) || seeds < 500;
        let claim =
            format!("{what}: in {seen} of {} worlds, at most {most} of a thousand", sum.worlds);
        print(&claims.line(holds, &claim));
    }
    print(&table(&sum));
    model.figures(&sum).iter().for_each(|line| print(line));
}

/// Every broken world of them, a line each.
fn every<M: Model>(model: &M, order: &Order, claims: &mut Claims, print: &mut dyn FnMut(&str)) {
    let end = order.from.saturating_add(order.seeds);
    let mut from = order.from;
    while let Some(broken) = worlds(model, from, end - from, order.threads, None).broken {
        let what = broken.what.lines().next().unwrap_or_default();
        print(
            &claims.line(false, &format!("the law holds in the world of {}: {what}", broken.seed)),
        );
        from += broken.number;
    }
    let claim = format!("to the end of {} worlds of {}", order.seeds, model.name());
    print(&claims.line(true, &claim));
}

fn happened<M: Model>(model: &M, sum: &Sum, claims: &mut Claims) -> String {
    let absent = |what: &&&str| !sum.counts.contains_key(**what);
    let missing: Vec<&str> = model.expected().iter().filter(absent).copied().collect();
    let all = model.expected().len();
    if missing.is_empty() {
        return claims.line(true, &format!("all of {all} things that should happen did"));
    }
    claims.line(false, &format!("these never happened: {}", missing.join(", ")))
}

fn all_noticed<M: Model>(
    model: &M,
    order: &Order,
    claims: &mut Claims,
    print: &mut dyn FnMut(&str),
) {
    let wanted = |rule: &str, mutant: &str| match &order.only {
        Some(only) => only == rule || only == mutant,
        None => true,
    };
    for (rule, mutant) in model.mutants() {
        let name = format!("{mutant:?}");
        if !wanted(rule, &name) {
            continue;
        }
        let hunt = hunt(model, *mutant, order.from, NOTICED, order.threads);
        let Some(broken) = hunt.noticed else {
            let claim =
                format!("{rule} without it ({name}): not noticed in {} worlds", hunt.worlds);
            print(&claims.line(false, &claim));
            continue;
        };
        let what: String =
            broken.what.lines().next().unwrap_or_default().chars().take(120).collect();
        let number = broken.number;
        let claim = format!("{rule} without it ({name}): noticed in world {number}: {what}");
        print(&claims.line(true, &claim));
        if order.only.is_some() {
            print(&story(model, &broken, Some(*mutant)));
        }
    }
}

/// The shortest story that was found of a broken world.
fn story<M: Model>(model: &M, broken: &Broken, mutant: Option<super::Rule>) -> String {
    let steps = model.steps(broken.seed);
    let short = shrink(model, broken.seed, &steps, mutant, SHORTER);
    let mut told = Told::telling();
    let ending = tell(model, broken.seed, &short, mutant, &mut told);
    let mut text = format!("seed {}, {} of {} steps:\n", broken.seed, short.len(), steps.len());
    for line in told.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    let _ = match ending {
        Err(what) => writeln!(text, "  {what}"),
        Ok(()) => writeln!(text, "  it holds when it is told again; before: {}", broken.what),
    };
    let (name, seed) = (model.name(), broken.seed);
    let _ = write!(text, "again: cargo xtask simulate --model {name} --seeds 1 --from {seed}");
    if let Some(mutant) = mutant {
        let _ = write!(text, " --mutant {mutant:?}");
    }
    text
}

fn table(sum: &Sum) -> String {
    let rows = sum.counts.iter().map(|(what, times)| {
        let worlds = sum.spread.get(what).copied().unwrap_or_default();
        format!("  {what:<44}{times:>9} times in {worlds:>6} worlds")
    });
    rows.collect::<Vec<_>>().join("\n")
}
