//! The scenarios by name: what a plain v0.1.2 client meets, and what it is spared where v0.1.2 itself is known to fail.

use crate::bench::Bench;
use crate::expect::Told;

mod batch;
mod contest;
mod gates;
mod pull;
mod push;
mod schema;
mod snapshot;
mod users;
mod values;

/// One scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Stable; the part before the slash is its area.
    pub(crate) name: &'static str,
    /// What v0.1.2 does instead, where that is a defect.
    pub(crate) mends: Option<&'static str>,
    pub(crate) tell: fn(&mut Bench) -> Told,
}

/// As v0.1.2 answers, too.
const fn wire(name: &'static str, tell: fn(&mut Bench) -> Told) -> Scenario {
    Scenario { name, mends: None, tell }
}

/// Better than v0.1.2 answers.
const fn mended(
    name: &'static str,
    instead: &'static str,
    tell: fn(&mut Bench) -> Told,
) -> Scenario {
    Scenario { name, mends: Some(instead), tell }
}

/// Every scenario, in the order in which they are lived.
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
    fn every_scenario_has_a_name_of_its_own_with_an_area() {
        let mut names: Vec<&str> = all().map(|scenario| scenario.name).collect();
        assert!(names.len() > 70, "{}", names.len());
        assert!(names.iter().all(|name| name.split('/').count() == 2));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
