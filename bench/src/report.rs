//! The results, as a table and as JSON.

use serde::{Deserialize, Serialize};

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) against: String,
    /// The median; `None` for results that are not ratios.
    pub(crate) ratio: Option<f64>,
    /// Minimum and maximum ratio of the run.
    pub(crate) spread: Option<[f64; 2]>,
    /// The goal, an upper bound in the unit of `ratio` or `value`.
    pub(crate) goal: Option<f64>,
    /// A result that is not a ratio, with its unit.
    pub(crate) value: Option<f64>,
    pub(crate) unit: String,
    /// Instructions per unit: ours and the reference's.
    pub(crate) instructions: Option<[f64; 2]>,
}

impl Line {
    /// Whether the goal is met; `None` without one.
    pub(crate) fn met(&self) -> Option<bool> {
        Some(self.ratio.or(self.value)? <= self.goal?)
    }

    fn cells(&self) -> [String; 5] {
        let figure = match (self.ratio, self.value) {
            (Some(ratio), _) => format!("{ratio:.2}"),
            (None, Some(value)) => format!("{value:.2} {}", self.unit),
            (None, None) => "-".to_owned(),
        };
        let spread =
            self.spread.map_or(String::new(), |[least, most]| format!("{least:.2} to {most:.2}"));
        let goal = self.goal.map_or("-".to_owned(), |goal| format!("{goal:.2}"));
        let met = match self.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        [format!("{} / {}", self.name, self.against), figure, spread, goal, met.to_owned()]
    }
}

/// Prints the table.
pub(crate) fn print(lines: &[Line]) {
    let header = ["what / against", "figure", "spread", "goal", ""].map(str::to_owned);
    let rows: Vec<[String; 5]> =
        [header].into_iter().chain(lines.iter().map(Line::cells)).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3), width(4)];
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goal_is_an_upper_bound() {
        let line = |ratio, value, goal| Line {
            name: String::new(),
            against: String::new(),
            ratio,
            spread: None,
            goal,
            value,
            unit: String::new(),
            instructions: None,
        };
        for (ratio, value, goal, met) in [
            (Some(1.1), None, Some(1.1), Some(true)),
            (Some(1.11), None, Some(1.1), Some(false)),
            (None, Some(49.0), Some(50.0), Some(true)),
            (None, Some(49.0), None, None),
        ] {
            assert_eq!(line(ratio, value, goal).met(), met);
        }
    }
}
