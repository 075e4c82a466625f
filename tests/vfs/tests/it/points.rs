//! The calls of a scenario that fail, and the seed that chooses them.

use fastrand::Rng;
use rejoin_tests::cases;

/// The seed of a test, printed; `REJOIN_POWER_SEED` repeats a run. Installs the file system.
pub(crate) fn seed() -> u64 {
    rejoin_vfs::install();
    let given = std::env::var("REJOIN_POWER_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("REJOIN_POWER_SEED={seed}");
    seed
}

/// The failing calls of a scenario with `of` calls: about `few` in the gate, `deep` or all in a
/// deep run.
pub(crate) fn points(of: u64, few: u64, deep: u64, rng: &mut Rng) -> Vec<u64> {
    let count = if cases(1) > 1 { deep } else { few };
    let stride = of.div_ceil(count.max(1)).max(1);
    let first = rng.u64(1..=stride);
    (first..=of).step_by(usize::try_from(stride).unwrap()).collect()
}

/// Images per power cut.
pub(crate) fn images() -> u64 {
    if cases(1) > 1 { 3 } else { 1 }
}
