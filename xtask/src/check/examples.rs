//! The examples on the first page are those of the SDKs' pages, whose tests compile and run them.

use crate::workspace::File;

/// The first page, and the page of each SDK with the language of its blocks.
const FIRST: &str = "README.md";
const PAGES: [(&str, &str); 3] = [
    ("kotlin", "kotlin/README.md"),
    ("swift", "swift/README.md"),
    ("ts", "react-native/README.md"),
];

/// Blocks of the first page that the SDK's page does not have.
pub(super) fn untested(files: &[File]) -> Vec<String> {
    let text = |path| files.iter().find(|file| file.path == path).map_or("", |file| &file.text);
    let mut problems = Vec::new();
    for (language, page) in PAGES {
        let tested: Vec<&str> = blocks(text(page), language).collect();
        let mut shown = blocks(text(FIRST), language).peekable();
        if shown.peek().is_none() {
            problems.push(format!("{FIRST}: it has no block in {language}"));
        }
        if shown.any(|block| !tested.contains(&block)) {
            problems.push(format!("{FIRST}: a block in {language} is not one of {page}"));
        }
    }
    problems
}

/// The fenced blocks of a language, without their fences.
fn blocks<'page>(page: &'page str, language: &str) -> impl Iterator<Item = &'page str> {
    let fence = format!("```{language}\n");
    page.match_indices(&fence)
        .map(move |(at, fence)| &page[at + fence.len()..])
        .filter_map(|block| block.split_once("\n```").map(|(block, _)| block))
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_that_no_test_compiles_is_a_problem() {
        let page = |path: &str, code: &str| File {
            path: path.into(),
            text: ["kotlin", "swift", "ts"]
                .map(|language| format!("text\n```{language}\n{code}\n```\n"))
                .concat(),
        };
        let sdks = || PAGES.iter().map(|(_, path)| page(path, "open()"));
        let files = |first| sdks().chain([page(FIRST, first)]).collect::<Vec<_>>();
        assert_eq!(untested(&files("open()")), Vec::<String>::new());
        let expected = PAGES
            .map(|(language, page)| format!("{FIRST}: a block in {language} is not one of {page}"));
        assert_eq!(untested(&files("close()")), expected);
        let none: Vec<File> = sdks().collect();
        assert_eq!(untested(&none).len(), 3);
    }
}
