//! Finds the files that a Markdown page links to. It does not check them.

/// What precedes and what ends the target of a link.
const MARKS: [(&str, char); 3] = [("](", ')'), ("src=\"", '"'), ("href=\"", '"')];

/// The link targets of a page, as paths from the root; links to other sites may be among them.
pub(super) fn targets(page: &str, text: &str) -> Vec<String> {
    let found = |(start, end): (&str, char)| {
        let after = text.match_indices(start).map(move |(at, _)| &text[at + start.len()..]);
        let targets = after.filter_map(|rest| rest.split_once(end)).map(|(target, _)| target);
        targets.filter_map(|target| resolved(page, target)).collect::<Vec<_>>()
    };
    MARKS.into_iter().flat_map(found).collect()
}

/// The path from the root; `None` outside the repository, and for a link within the page.
fn resolved(page: &str, target: &str) -> Option<String> {
    let path = target.split([' ', '#']).next().filter(|path| !path.is_empty())?;
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{resolved, targets};

    #[test]
    fn target_is_relative_to_the_folder_of_its_page() {
        let table = [
            ("README.md", "docs/a.md", Some("docs/a.md")),
            ("docs/a.md", "b.md#heading", Some("docs/b.md")),
            ("docs/a.md", "../core/x.rs \"title\"", Some("core/x.rs")),
            ("docs/a.md", "./adr/", Some("docs/adr")),
            ("docs/a.md", "../../outside", None),
            ("docs/a.md", "#heading", None),
            ("docs/a.md", "", None),
        ];
        for (page, target, expected) in table {
            assert_eq!(resolved(page, target).as_deref(), expected, "{page} {target}");
        }
    }

    #[test]
    fn links_and_images_of_a_page_are_found() {
        let text = "See [a](a.md) and [b](b.md#c).\n<img src=\"i.svg\" alt=\"x\"> ![](j.png)\n\
                    <a href=\"d.txt\">d</a> [open](";
        let found = targets("docs/page.md", text);
        let expected = ["a.md", "b.md", "j.png", "i.svg", "d.txt"];
        assert_eq!(found, expected.map(|name| format!("docs/{name}")));
    }
}
