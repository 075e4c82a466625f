//! Names of tables, columns and actions in the style of a language. They are unique in their scope and are no keywords.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use heck::{ToLowerCamelCase as _, ToSnakeCase as _, ToUpperCamelCase as _};

/// The style of a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Case {
    /// `TaskItem`
    UpperCamel,
    /// `taskItem`
    LowerCamel,
    /// `task_item`
    Snake,
}

/// The names of a language in one scope, by the names of the schema.
#[derive(Debug)]
pub(super) struct Names {
    by_origin: BTreeMap<String, String>,
}

impl Names {
    /// A word of `reserved`, which has spaces between them, gets a `_` at its end. Fails if a name has no letter or digit or has a
    /// control character, or if two names become equal.
    pub(super) fn of<'n>(
        origins: impl Iterator<Item = &'n str>,
        case: Case,
        suffix: &str,
        reserved: &str,
    ) -> Result<Self> {
        let mut by_origin: BTreeMap<String, String> = BTreeMap::new();
        for origin in origins {
            let name = match case {
                Case::UpperCamel => origin.to_upper_camel_case(),
                Case::LowerCamel => origin.to_lower_camel_case(),
                Case::Snake => origin.to_snake_case(),
            };
            let name: String =
                name.chars().filter(|char| char.is_alphanumeric() || *char == '_').collect();
            // A line break would end a comment of the generated code.
            if origin.chars().any(char::is_control) {
                bail!("{origin:?} has a control character: rename it in the schema");
            }
            if name.is_empty() {
                bail!("{origin:?} has no letter or digit: rename it in the schema");
            }
            let mut name = name + suffix;
            if name.starts_with(|first: char| first.is_ascii_digit()) {
                name.insert(0, '_');
            }
            if reserved.split_whitespace().any(|word| word == name) {
                name.push('_');
            }
            if let Some((other, _)) = by_origin.iter().find(|(_, known)| **known == name) {
                bail!("{other:?} and {origin:?} both become {name}: rename one in the schema");
            }
            by_origin.insert(origin.to_owned(), name);
        }
        Ok(Self { by_origin })
    }

    /// The name of this origin.
    pub(super) fn get<'n>(&'n self, origin: &'n str) -> &'n str {
        self.by_origin.get(origin).map_or(origin, String::as_str)
    }
}

/// A literal of text that is valid in all four languages, in double quotes. Kotlin reads `$` as a template.
pub(super) fn literal(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A name within a comment, which it must not end.
pub(super) fn commented(text: &str) -> String {
    text.replace("*/", "* /")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(origins: &[&str]) -> Result<Names> {
        Names::of(origins.iter().copied(), Case::LowerCamel, "", "case class")
    }

    #[test]
    fn keyword_or_digit_gets_a_safe_name() {
        let found = names(&["class", "2nd", "first name", "due_at"]).unwrap();
        let of = |origin| found.get(origin);
        assert_eq!(
            [of("class"), of("2nd"), of("first name"), of("due_at")],
            ["class_", "_2nd", "firstName", "dueAt"]
        );
    }

    #[test]
    fn two_origins_of_one_name_are_an_error() {
        let error = names(&["due_at", "dueAt"]).unwrap_err().to_string();
        assert!(error.contains("\"due_at\" and \"dueAt\" both become dueAt"), "{error}");
    }

    #[test]
    fn name_without_letters_is_an_error() {
        assert!(names(&["!!"]).unwrap_err().to_string().contains("\"!!\" has no letter"));
        let error = names(&["a\nb"]).unwrap_err().to_string();
        assert!(error.contains("\"a\\nb\" has a control character"), "{error}");
    }
}
