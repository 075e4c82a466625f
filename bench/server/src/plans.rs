//! Reads the plans logged by `auto_explain`: touched buffers, and sequential scans.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Lines;

use serde_json::Value;

/// Marks a statement that ran within another one, whose plan includes its buffers: a query calls
/// this function. Statements of triggers appear in their own plans only.
const WITHIN: &str = "function rejoin.sequence()";

/// The activity of a request's statements.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Done {
    pub(crate) statements: usize,
    pub(crate) buffers: u64,
    /// Tables read by sequential scans, with the maximum number of rows read at a time.
    pub(crate) scanned: BTreeMap<String, u64>,
    /// The most expensive statements, by text.
    pub(crate) by_text: BTreeMap<String, u64>,
}

/// Reads the log and skips everything but plans.
pub(crate) fn read(log: &str) -> Done {
    let mut done = Done::default();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.ends_with("plan:") {
            continue;
        }
        let json = more(&mut lines);
        let context = lines.next_if(|line| line.starts_with("CONTEXT:"));
        let within = context
            .is_some_and(|first| first.contains(WITHIN) || more(&mut lines).contains(WITHIN));
        if let Ok(entry) = serde_json::from_str::<Value>(&json) {
            add(&mut done, &entry, within);
        }
    }
    done
}

/// The continuation lines of a log line.
fn more(lines: &mut Peekable<Lines<'_>>) -> String {
    let mut text = String::new();
    while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
        text.push_str(more.trim_start_matches('\t'));
        text.push('\n');
    }
    text
}

fn add(done: &mut Done, entry: &Value, within: bool) {
    let plan = &entry["Plan"];
    walk(done, plan);
    if within {
        return;
    }
    let number = |name: &str| plan[name].as_u64().unwrap_or(0);
    let buffers = number("Shared Hit Blocks") + number("Shared Read Blocks");
    done.statements += 1;
    done.buffers += buffers;
    let text: String = entry["Query Text"]
        .as_str()
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    *done.by_text.entry(text.chars().take(160).collect()).or_default() += buffers;
}

fn walk(done: &mut Done, plan: &Value) {
    if plan["Node Type"] == "Seq Scan" {
        let number = |name: &str| plan[name].as_f64().unwrap_or(0.0);
        let looked = number("Actual Rows") + number("Rows Removed by Filter");
        let table = plan["Relation Name"].as_str().unwrap_or_default().to_owned();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A count.
        let looked = looked as u64;
        let most = done.scanned.entry(table).or_default();
        *most = looked.max(*most);
    }
    for below in plan["Plans"].as_array().map_or(&[][..], Vec::as_slice) {
        walk(done, below);
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn plans_are_found_among_other_lines_and_summed() {
        let log = "LOG:  something else\n\
            LOG:  duration: 0.01 ms  plan:\n\t{\n\t  \"Query Text\": \"SELECT 1\\nFROM x\",\n\t  \"Plan\": {\"Node Type\": \"Sort\",\n\
            \t    \"Shared Hit Blocks\": 3, \"Shared Read Blocks\": 4, \"Plans\": [{\"Node Type\": \"Seq Scan\",\n\
            \t    \"Relation Name\": \"tasks\", \"Actual Rows\": 5, \"Rows Removed by Filter\": 6}]}\n\t}\n\
            LOG:  duration: 0.01 ms  plan:\n\t{\"Query Text\": \"SELECT 3\", \"Plan\": {\"Shared Hit Blocks\": 9}}\n\
            CONTEXT:  SQL statement \"SELECT 3\n\tFROM y\"\n\tPL/pgSQL function rejoin.sequence() line 9 at IF\n\
            LOG:  duration: 0.01 ms  plan:\n\t{\"Query Text\": \"SELECT 2\", \"Plan\": {\"Shared Hit Blocks\": 1}}\n\
            CONTEXT:  PL/pgSQL function rejoin.written() line 9 at PERFORM\n";
        let done = read(log);
        // The third ran within the second, whose plan includes its buffers.
        assert_eq!((done.statements, done.buffers), (2, 8));
        assert_eq!(done.scanned.into_iter().collect::<Vec<_>>(), [(String::from("tasks"), 11)]);
        assert_eq!(done.by_text.get("SELECT 1 FROM x"), Some(&7));
    }
}
