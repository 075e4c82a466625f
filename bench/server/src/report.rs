//! The results, as a table and as JSON.

use serde::Serialize;

/// A goal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// A lower bound.
    AtLeast(f64),
    /// An upper bound.
    AtMost(f64),
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) against: String,
    pub(crate) figure: f64,
    pub(crate) unit: &'static str,
    /// Minimum and maximum of the run.
    pub(crate) spread: Option<[f64; 2]>,
    pub(crate) goal: Option<Goal>,
    /// The absolute values.
    pub(crate) note: String,
}

impl Line {
    /// Whether the goal is met; `None` without one.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.goal? {
            Goal::AtLeast(least) => Some(self.figure >= least),
            Goal::AtMost(most) => Some(self.figure <= most),
        }
    }

    fn cells(&self) -> [String; 6] {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let spread =
            self.spread.map_or(String::new(), |[least, most]| format!("{least:.2} to {most:.2}"));
        let goal = match self.goal {
            Some(Goal::AtLeast(least)) => format!(">= {least:.2}"),
            Some(Goal::AtMost(most)) => format!("<= {most:.2}"),
            None => String::from("-"),
        };
        let met = match self.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        [
            format!("{} / {}", self.what, self.against),
            format!("{:.2}{unit}", self.figure),
            spread,
            goal,
            met.to_owned(),
            self.note.clone(),
        ]
    }
}

/// Prints the table.
pub(crate) fn print(lines: &[Line]) {
    let header = ["what / against", "figure", "spread", "goal", "", ""].map(str::to_owned);
    let rows: Vec<[String; 6]> =
        [header].into_iter().chain(lines.iter().map(Line::cells)).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3), width(4), width(5)];
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::{Goal, Line};

    #[test]
    fn goal_is_a_lower_or_upper_bound() {
        for (figure, goal, met) in [
            (0.4, Some(Goal::AtLeast(0.4)), Some(true)),
            (0.39, Some(Goal::AtLeast(0.4)), Some(false)),
            (1.3, Some(Goal::AtMost(1.3)), Some(true)),
            (1.31, Some(Goal::AtMost(1.3)), Some(false)),
            (1.31, None, None),
        ] {
            let text = String::new;
            let line = Line {
                what: text(),
                against: text(),
                figure,
                unit: "",
                spread: None,
                goal,
                note: text(),
            };
            assert_eq!(line.met(), met, "{figure} {goal:?}");
        }
    }
}
