//! Number of cases per property test; `REJOIN_CASES` multiplies it.

/// `count`, times the environment variable `REJOIN_CASES`.
pub(crate) fn cases(count: u64) -> u64 {
    let times = std::env::var("REJOIN_CASES").ok().and_then(|text| text.parse().ok());
    count * times.unwrap_or(1)
}
