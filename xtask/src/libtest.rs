//! What libtest prints: its result lines, counted, and its lists of names.

use crate::report::Count;
use std::collections::BTreeSet;

/// The counts of one `test result:` line; None for any other line.
pub(crate) fn result_line(line: &str) -> Option<Count> {
    let rest = line.trim_start().strip_prefix("test result: ")?;
    let number = |word: &str| {
        rest.split([';', '.']).find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    Some(Count {
        passed: number("passed")?,
        failed: number("failed")?,
        skipped: number("ignored")?,
    })
}

/// The names in the output of `--list`.
pub(crate) fn listed(output: &str) -> BTreeSet<String> {
    output.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{listed, result_line};
    use crate::report::Count;

    #[test]
    fn a_result_line_is_counted() {
        let good = "test result: ok. 34 passed; 0 failed; 2 ignored; 0 measured; 1 filtered out; \
                    finished in 0.01s";
        assert_eq!(result_line(good), Some(Count { passed: 34, failed: 0, skipped: 2 }));
        let bad = "test result: FAILED. 1 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(result_line(bad), Some(Count { passed: 1, failed: 5, skipped: 0 }));
    }

    #[test]
    fn other_lines_are_not_counted() {
        for line in ["", "running 3 tests", "test a::b ... ok", "test result: strange"] {
            assert_eq!(result_line(line), None, "{line}");
        }
    }

    #[test]
    fn a_list_gives_its_test_names() {
        let output =
            "engine::tests::a: test\nit::b: test\nspeed: benchmark\n\n2 tests, 1 benchmark\n";
        assert_eq!(listed(output).into_iter().collect::<Vec<_>>(), ["engine::tests::a", "it::b"]);
    }
}
