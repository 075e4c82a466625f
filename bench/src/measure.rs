//! Measurement: two variants of one workload alternate, and their costs are compared.
//!
//! In thread CPU time, so that neither the disk nor other programs count; in wall time where a
//! workload spans threads. One run of each variant makes a pair, a ratio is taken per pair, and the
//! median of the ratios is reported with minimum and maximum. Absolute times are not guaranteed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The side of a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Variant {
    /// Rejoin.
    Ours,
    /// The reference.
    Reference,
}

/// The cost of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Rows, statements or other units of the workload.
    pub(crate) units: usize,
    /// CPU time of this thread, or wall time, depending on the workload.
    pub(crate) time: Duration,
}

impl Sample {
    /// Nanoseconds per unit.
    pub(crate) fn per_unit(self) -> f64 {
        self.time.as_secs_f64() * 1e9 / self.units.max(1) as f64
    }
}

/// Measures `work` by this thread's CPU time.
pub(crate) fn cpu<T>(units: usize, work: impl FnOnce() -> Result<T>) -> Result<(Sample, T)> {
    let before = thread_cpu();
    let done = work()?;
    Ok((Sample { units, time: thread_cpu().saturating_sub(before) }, done))
}

/// Measures `work` by the CPU time of all threads of this process, for workloads on several
/// threads.
pub(crate) fn process_cpu<T>(
    units: usize,
    work: impl FnOnce() -> Result<T>,
) -> Result<(Sample, T)> {
    let before = clock(rustix::time::ClockId::ProcessCPUTime);
    let done = work()?;
    let time = clock(rustix::time::ClockId::ProcessCPUTime).saturating_sub(before);
    Ok((Sample { units, time }, done))
}

/// Measures `work` by wall time.
pub(crate) fn wall<T>(units: usize, work: impl FnOnce() -> Result<T>) -> Result<(Sample, T)> {
    let before = Instant::now();
    let done = work()?;
    Ok((Sample { units, time: before.elapsed() }, done))
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    clock(rustix::time::ClockId::ThreadCPUTime)
}

fn clock(which: rustix::time::ClockId) -> Duration {
    let now = rustix::time::clock_gettime(which);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// One side of a ratio: prepares in its own folder, and measures only the work itself.
pub(crate) type Run = fn(Variant, &Path, usize) -> Result<Sample>;

/// The ratio of two variants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Nanoseconds per unit: our median.
    pub(crate) ours: f64,
}

/// Runs both variants `rounds` times alternately; the first one alternates.
pub(crate) fn ratio(run: Run, scale: usize, rounds: usize) -> Result<Ratio> {
    let (mut ratios, mut ours) = (Vec::new(), Vec::new());
    for round in 0..rounds.max(1) {
        let mut pair = [0.0; 2];
        let order = if round % 2 == 0 {
            [Variant::Ours, Variant::Reference]
        } else {
            [Variant::Reference, Variant::Ours]
        };
        for variant in order {
            let folder = tempfile::tempdir()?;
            pair[variant as usize] = run(variant, folder.path(), scale)?.per_unit();
        }
        ours.push(pair[0]);
        ratios.push(pair[0] / pair[1].max(f64::MIN_POSITIVE));
    }
    ratios.sort_by(f64::total_cmp);
    Ok(Ratio {
        median: median(&mut ratios.clone()),
        least: ratios[0],
        most: ratios[ratios.len() - 1],
        ours: median(&mut ours),
    })
}

/// The median; for an even number of values the mean of the middle two.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The value below which this share of the values lies.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = (share * (values.len().saturating_sub(1)) as f64).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_does_not_depend_on_the_order() {
        for (mut values, expected) in
            [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5), (vec![7.0], 7.0)]
        {
            assert_eq!(median(&mut values).to_bits(), f64::to_bits(expected));
        }
    }

    #[test]
    fn ratio_divides_ours_by_the_reference() {
        let run: Run = |variant, _, units| {
            let nanos = if variant == Variant::Ours { 30 } else { 20 };
            Ok(Sample { units, time: Duration::from_nanos(nanos * units as u64) })
        };
        let ratio = ratio(run, 10, 3).unwrap();
        assert!((ratio.median - 1.5).abs() < 1e-9 && (ratio.ours - 30.0).abs() < 1e-9);
    }

    #[test]
    fn cpu_time_counts_this_thread_only() {
        let (sample, sum) = cpu(1, || Ok((0..3_000_000_u64).fold(0, u64::wrapping_add))).unwrap();
        assert!(sum > 0 && sample.time > Duration::ZERO);
    }
}
