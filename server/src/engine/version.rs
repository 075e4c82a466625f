//! App versions: `[v]MAJOR.MINOR.PATCH`; a suffix after `-` or `+` is ignored.

/// The three numbers; `None` if the text is not a version.
pub(super) fn parse(text: &str) -> Option<(u64, u64, u64)> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let core = text.split(['-', '+']).next()?;
    let mut parts = core.split('.').map(|part| part.parse::<u64>().ok());
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

/// Whether `version` is at least `least`. Invalid versions are not.
pub(super) fn is_served(version: &str, least: &str) -> bool {
    matches!((parse(version), parse(least)), (Some(version), Some(least)) if version >= least)
}

#[cfg(test)]
mod tests {
    use super::is_served;

    #[test]
    fn versions_compare_by_number_without_suffix() {
        let table = [
            ("1.2.0", "1.2.0", true),
            ("1.10.0", "1.9.9", true),
            ("v2.0.0", "1.2.0", true),
            ("1.2.0-beta", "1.2.0", true),
            ("1.1.9", "1.2.0", false),
            ("1.2", "1.0.0", false),
            ("new", "1.0.0", false),
        ];
        for (version, least, served) in table {
            assert_eq!(is_served(version, least), served, "{version} against {least}");
        }
    }
}
