//! Makes mdBook's table of contents from `llms.txt`, and refuses a list that misses a page.

use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// The table of contents.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// In mdBook's format.
    pub(super) text: String,
    /// The paths of all pages in it.
    pub(super) pages: BTreeSet<String>,
}

impl Summary {
    /// Reads the list: each `## Section` becomes a part, and each link to a page a chapter. A link
    /// to a folder becomes its README.md, with the other pages of the folder below it.
    pub(super) fn read(
        list: &str,
        paths: &BTreeSet<String>,
        read: impl Fn(&str) -> Result<String>,
    ) -> Result<Self> {
        let mut summary = Self::default();
        for line in list.lines() {
            if let Some(section) = line.strip_prefix("## ") {
                let _ = writeln!(summary.text, "\n# {section}\n");
            }
            for (title, path) in links(line).filter(|_| line.starts_with("- ")) {
                let index = format!("{path}/README.md");
                if paths.contains(&index) {
                    summary.add("", title, &index)?;
                    let folder = index.trim_end_matches("README.md");
                    let below = |page: &&String| page.starts_with(folder) && **page != index;
                    for page in paths.iter().filter(|page| is_page(page)).filter(below) {
                        summary.add("  ", &heading(page, &read(page)?)?, page)?;
                    }
                } else {
                    let exists = path.contains("://") || paths.contains(path);
                    ensure!(exists, "llms.txt lists {path}, which does not exist");
                    if is_page(path) {
                        summary.add("", title, path)?;
                    }
                }
            }
        }
        let in_docs = paths.iter().filter(|path| path.starts_with("docs/") && is_page(path));
        let missing: Vec<&String> = in_docs.filter(|page| !summary.pages.contains(*page)).collect();
        ensure!(missing.is_empty(), "llms.txt does not list {missing:?}; add a line");
        Ok(summary)
    }

    fn add(&mut self, indent: &str, title: &str, path: &str) -> Result<()> {
        ensure!(self.pages.insert(path.to_owned()), "llms.txt lists {path} twice");
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{indent}- [{}]({path})", capitalised(title));
        Ok(())
    }
}

fn is_page(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == "md")
}

/// Titles and targets of the links in a line.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split('[').skip(1).filter_map(|link| link.split_once(')')?.0.split_once("]("))
}

/// The first heading of a page.
fn heading(path: &str, text: &str) -> Result<String> {
    let heading = text.lines().find_map(|line| line.strip_prefix("# "));
    Ok(heading.with_context(|| format!("{path} has no heading"))?.to_owned())
}

/// With a capital letter at the start, unless the first word has one already: `iOS` stays.
fn capitalised(title: &str) -> String {
    let word = title.split(' ').next().unwrap_or_default();
    let (first, rest) = title.split_at(usize::from(word == word.to_lowercase()));
    first.to_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use super::Summary;
    use anyhow::Result;

    const LIST: &str = "# Name\n\n> [not](this.md)\n\n## Start\n\n- [Name](README.md): what\n\
                        - [Guide](docs/a.md), [text](docs/api/x.txt), [iOS](docs/b.md): [how]\n\n\
                        ## More\n\n- [decisions](docs/adr)\n";
    const FILES: &[&str] = &[
        "README.md",
        "docs/a.md",
        "docs/adr/0001-x.md",
        "docs/adr/0002-y.md",
        "docs/adr/README.md",
        "docs/api/x.txt",
        "docs/b.md",
        "kotlin/README.md",
    ];

    fn read(list: &str, files: &[&str]) -> Result<Summary> {
        let paths = files.iter().map(|&path| path.to_owned()).collect();
        Summary::read(list, &paths, |path| Ok(format!("# Of {path}\n\n# Later\n")))
    }

    #[test]
    fn sections_become_parts_and_links_become_chapters() {
        let expected = "\n# Start\n\n- [Name](README.md)\n- [Guide](docs/a.md)\n\
                        - [iOS](docs/b.md)\n\n# More\n\n- [Decisions](docs/adr/README.md)\n\
                        \x20 - [Of docs/adr/0001-x.md](docs/adr/0001-x.md)\n\
                        \x20 - [Of docs/adr/0002-y.md](docs/adr/0002-y.md)\n";
        let summary = read(LIST, FILES).unwrap();
        assert_eq!(summary.text, expected);
        assert_eq!(summary.pages.len(), 6);
    }

    #[test]
    fn every_page_exists_and_is_listed_once() {
        let refusal = |list: &str, files: &[&str]| read(list, files).unwrap_err().to_string();
        let new = [FILES, &["docs/new.md"]].concat();
        assert_eq!(refusal(LIST, &new), "llms.txt does not list [\"docs/new.md\"]; add a line");
        assert_eq!(refusal(LIST, &["docs/a.md"]), "llms.txt lists README.md, which does not exist");
        let twice = format!("{LIST}- [again](docs/a.md)\n");
        assert_eq!(refusal(&twice, FILES), "llms.txt lists docs/a.md twice");
    }
}
