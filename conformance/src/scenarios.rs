//! All scenarios by name. They cover what a plain v0.1.2 client relies on, and known defects of
//! v0.1.2.

use crate::bench::Bench;
use crate::expect::ScenarioResult;

mod batch;
mod contest;
mod gates;
mod pull;
mod push;
mod schema;
mod snapshot;
mod users;
mod values;

#[derive(Debug)]
pub(crate) struct Scenario {
    /// Stable name; the part before the slash is the area.
    pub(crate) name: &'static str,
    /// The defect of v0.1.2 that makes it fail this scenario, if any.
    pub(crate) fixes: Option<&'static str>,
    pub(crate) tell: fn(&mut Bench) -> ScenarioResult,
}

/// A scenario that v0.1.2 passes.
const fn wire(name: &'static str, tell: fn(&mut Bench) -> ScenarioResult) -> Scenario {
    Scenario { name, fixes: None, tell }
}

/// A scenario that v0.1.2 fails.
const fn fixed(
    name: &'static str,
    instead: &'static str,
    tell: fn(&mut Bench) -> ScenarioResult,
) -> Scenario {
    Scenario { name, fixes: Some(instead), tell }
}

/// Every scenario, in execution order.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    let areas: [&[Scenario]; 9] = [
        gates::ALL,
        schema::ALL,
        push::ALL,
        batch::ALL,
        contest::ALL,
        values::ALL,
        pull::ALL,
        snapshot::ALL,
        users::ALL,
    ];
    areas.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn scenario_names_are_unique_and_have_an_area() {
        let mut names: Vec<&str> = all().map(|scenario| scenario.name).collect();
        assert!(names.len() > 70, "{}", names.len());
        assert!(names.iter().all(|name| name.split('/').count() == 2));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
