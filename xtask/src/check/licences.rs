//! Licences: every crate that is built upon must allow what `deny.toml` lists, by its own SPDX expression.
//!
//! The list has the form that cargo-deny reads, so that there is one list whoever looks.

use crate::workspace::Package;
use anyhow::{Context as _, Result};
use serde::Deserialize;

/// The allowed licences of a `deny.toml`.
pub(crate) fn allowed(deny: &str) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Deny {
        licenses: Licences,
    }
    #[derive(Deserialize)]
    struct Licences {
        allow: Vec<String>,
    }
    let deny: Deny = toml::from_str(deny).context("deny.toml")?;
    Ok(deny.licenses.allow)
}

/// The packages whose licence is missing, unreadable, or not allowed.
pub(crate) fn refused(packages: &[Package], allowed: &[String]) -> Vec<String> {
    let refusal = |package: &Package| {
        let Package { name, version, license, .. } = package;
        let Some(license) = license else {
            return Some(format!("{name} {version} declares no licence"));
        };
        match allows(license, allowed) {
            Some(true) => None,
            Some(false) => Some(format!("{name} {version}: {license} is not allowed by deny.toml")),
            None => Some(format!("{name} {version}: cannot read its licence {license:?}")),
        }
    };
    packages.iter().filter_map(refusal).collect()
}

/// Whether an SPDX expression can be met with these licences; None if it is not well formed.
fn allows(expression: &str, allowed: &[String]) -> Option<bool> {
    // Old manifests write a slash for OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (value, rest) = any(&words, allowed)?;
    rest.is_empty().then_some(value)
}

type Parsed<'w> = Option<(bool, &'w [&'w str])>;

fn any<'w>(words: &'w [&'w str], allowed: &[String]) -> Parsed<'w> {
    let (mut value, mut words) = all(words, allowed)?;
    while let Some(("OR", rest)) = first(words) {
        let (other, rest) = all(rest, allowed)?;
        (value, words) = (value | other, rest);
    }
    Some((value, words))
}

fn all<'w>(words: &'w [&'w str], allowed: &[String]) -> Parsed<'w> {
    let (mut value, mut words) = one(words, allowed)?;
    while let Some(("AND", rest)) = first(words) {
        let (other, rest) = one(rest, allowed)?;
        (value, words) = (value & other, rest);
    }
    Some((value, words))
}

fn one<'w>(words: &'w [&'w str], allowed: &[String]) -> Parsed<'w> {
    let (word, rest) = first(words)?;
    match (word, rest) {
        ("(", _) => {
            let (value, rest) = any(rest, allowed)?;
            Some((value, rest.strip_prefix(&[")"])?))
        }
        ("AND" | "OR" | "WITH" | ")", _) => None,
        // An exception only gives more; the licence with it is listed by both names, or refused.
        (_, ["WITH", exception, rest @ ..]) => {
            Some((allowed.contains(&format!("{word} WITH {exception}")), rest))
        }
        _ => Some((allowed.iter().any(|licence| licence == word), rest)),
    }
}

fn first<'w>(words: &'w [&'w str]) -> Option<(&'w str, &'w [&'w str])> {
    words.split_first().map(|(word, rest)| (*word, rest))
}

#[cfg(test)]
mod tests {
    use super::{allowed, allows, refused};
    use crate::workspace::Package;

    #[test]
    fn expressions_are_met_or_not() {
        let allowed =
            ["MIT", "Apache-2.0", "ISC", "Apache-2.0 WITH LLVM-exception"].map(String::from);
        let table = [
            ("MIT", Some(true)),
            ("GPL-3.0-only", Some(false)),
            ("MIT OR GPL-3.0-only", Some(true)),
            ("GPL-3.0-only/MIT", Some(true)),
            ("MIT AND GPL-3.0-only", Some(false)),
            ("GPL-3.0-only OR MIT AND ISC", Some(true)),
            ("(GPL-3.0-only OR MIT) AND OpenSSL", Some(false)),
            ("(MIT OR Apache-2.0) AND ISC", Some(true)),
            ("Apache-2.0 WITH LLVM-exception OR BSL-1.0", Some(true)),
            ("MIT WITH some-exception", Some(false)),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT Apache-2.0", None),
            ("", None),
        ];
        for (expression, expected) in table {
            assert_eq!(allows(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn a_crate_without_an_allowed_licence_is_named() {
        let package = |name: &str, license: Option<&str>| Package {
            name: name.into(),
            version: "1.2.3".into(),
            license: license.map(str::to_owned),
            source: None,
            dependencies: Vec::new(),
            manifest_path: "Cargo.toml".into(),
        };
        let packages = [
            package("good", Some("MIT")),
            package("silent", None),
            package("strict", Some("AGPL-3.0-only")),
            package("odd", Some("MIT OR")),
        ];
        let problems = refused(&packages, &["MIT".to_owned()]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert_eq!(problems[0], "silent 1.2.3 declares no licence");
        assert!(problems[1].starts_with("strict 1.2.3: AGPL-3.0-only is not allowed"));
        assert!(problems[2].starts_with("odd 1.2.3: cannot read"));
    }

    #[test]
    fn the_list_is_read_from_a_deny_file() {
        let deny = "[licenses]\nallow = [\"MIT\", \"ISC\"]\nconfidence-threshold = 0.9\n";
        assert_eq!(allowed(deny).unwrap(), ["MIT", "ISC"]);
        assert!(allowed("[advisories]\n").is_err());
    }
}
