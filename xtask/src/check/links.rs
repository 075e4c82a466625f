//! Links between the project's own pages: what a page points to is there.

use crate::workspace::File;
use std::collections::BTreeSet;

/// The links of Markdown pages to files and folders that the project does not have.
pub(crate) fn dangling(files: &[File]) -> Vec<String> {
    let mut present: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    for file in files {
        let folders = file.path.match_indices('/').map(|(at, _)| &file.path[..at]);
        present.extend(folders);
    }
    let mut problems = Vec::new();
    for page in files.iter().filter(|file| file.has_extension("md")) {
        for (number, line) in page.text.lines().enumerate() {
            for target in targets(line) {
                if !present.contains(resolve(&page.path, target).as_str()) {
                    let (path, number) = (&page.path, number + 1);
                    problems
                        .push(format!("{path}:{number}: links to {target}, which is not there"));
                }
            }
        }
    }
    problems
}

/// The targets of a line's links within the project, without their anchors.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#']).next()?.trim_end_matches('/');
        let outside = target.contains(':') || target.contains(' ');
        (!target.is_empty() && !outside).then_some(target)
    })
}

/// The path from the root of what a page at `page` calls `target`.
fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::dangling;
    use crate::workspace::File;

    #[test]
    fn a_link_to_nowhere_is_named() {
        let table = [
            ("see [a](docs/a.md)", true),
            ("see [a](docs/a.md#part) and [b](./docs/)", true),
            ("see [a](https://example.org/x), [b](#here)", true),
            ("see [a](a.md)", false),
            ("see [a](docs/a.md) and [b](docs/b.md)", false),
            ("see [a](../docs/lost)", false),
        ];
        for (text, good) in table {
            let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
            let files = [file("README.md", text), file("docs/a.md", "up: [x](../README.md)")];
            assert_eq!(dangling(&files).is_empty(), good, "{text}");
        }
    }
}
