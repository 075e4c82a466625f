//! How many cases a property test generates. The deep run multiplies them.

/// So many cases, times the environment variable `REJOIN_CASES`.
pub(crate) fn cases(count: u64) -> u64 {
    let times = std::env::var("REJOIN_CASES").ok().and_then(|text| text.parse().ok());
    count * times.unwrap_or(1)
}
