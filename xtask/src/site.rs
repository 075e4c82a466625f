//! `cargo xtask site`: builds the documentation site by mdBook from the Markdown pages of the
//! repository, and checks its links.
//!
//! `llms.txt` lists the pages. They are copied to `target/site-source`, at the same paths as in the
//! repository, so that links between them stay correct; mdBook writes `target/site`.

mod summary;

use crate::process::{run, succeeds};
use crate::report::Count;
use crate::toolchain::cargo::{HYPERLINK, MDBOOK};
use crate::workspace::{self, root};
use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use summary::Summary;

/// The list of pages.
const LIST: &str = "llms.txt";
/// The input of mdBook: `book.toml`, and the pages in `src`.
const SOURCE: &str = "target/site-source";
const SITE: &str = "target/site";

/// The list of pages is complete, the site builds, and its links lead to a file and a heading that
/// exist.
pub(crate) fn built() -> Result<Count> {
    let summary = staged()?;
    let mut mdbook = MDBOOK.command()?;
    mdbook.args(["build", SOURCE]);
    run(mdbook)?;
    println!("{} pages; the first is {SITE}/index.html", summary.pages.len());
    let mut count = Count::one(true);
    let mut hyperlink = HYPERLINK.command()?;
    hyperlink.args(["--check-anchors", SITE]);
    count += Count::one(succeeds(hyperlink)?);
    Ok(count)
}

/// Writes the input of mdBook.
fn staged() -> Result<Summary> {
    let paths: BTreeSet<String> = workspace::paths()?.into_iter().collect();
    let summary = Summary::read(&read(LIST)?, &paths, read)?;
    let source = workspace::emptied(root().join(SOURCE))?;
    let pages = summary.pages.iter().map(|page| read(page)).collect::<Result<String>>()?;
    // A page may link to a file whose name it has. mdBook makes pages only of chapters; the check of
    // links reports a link to any other.
    let is_named = |path: &str| path.rsplit('/').next().is_some_and(|name| pages.contains(name));
    for path in paths.iter().filter(|path| summary.pages.contains(*path) || is_named(path)) {
        copy(path, &source.join("src").join(path))?;
    }
    copy("docs/book.toml", &source.join("book.toml"))?;
    fs::write(source.join("src/SUMMARY.md"), &summary.text)?;
    Ok(summary)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

fn copy(path: &str, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file has a folder")?;
    fs::create_dir_all(folder)?;
    fs::copy(root().join(path), to).with_context(|| format!("cannot copy {path}"))?;
    Ok(())
}
