//! Measurement: both sides of a ratio alternate, in wall time, because both wait for the same
//! database.
//!
//! A ratio is the reference's time divided by the server's: 1 is equal, 0.5 is twice as long. It is
//! taken per pair; the median is reported with minimum and maximum.

use std::time::Duration;

use anyhow::Result;

/// The ratio of two variants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Medians in microseconds per unit: ours, the reference's.
    pub(crate) micros: [f64; 2],
}

/// Runs both `rounds` times alternately, after one uncounted pair; the first one alternates. Each
/// returns its time for the same number of `units`.
pub(crate) fn ratio(
    rounds: usize,
    units: usize,
    ours: &mut dyn FnMut() -> Result<Duration>,
    floor: &mut dyn FnMut() -> Result<Duration>,
) -> Result<Ratio> {
    let (mut ratios, mut times) = (Vec::new(), [Vec::new(), Vec::new()]);
    for round in 0..=rounds.max(1) {
        let (own, other);
        if round % 2 == 0 {
            own = ours()?;
            other = floor()?;
        } else {
            other = floor()?;
            own = ours()?;
        }
        if round > 0 {
            ratios.push(other.as_secs_f64() / own.as_secs_f64().max(f64::MIN_POSITIVE));
            for (times, time) in times.iter_mut().zip([own, other]) {
                times.push(time.as_secs_f64() * 1e6 / units.max(1) as f64);
            }
        }
    }
    ratios.sort_by(f64::total_cmp);
    let [mut own, mut other] = times;
    Ok(Ratio {
        least: ratios[0],
        most: ratios[ratios.len() - 1],
        median: median(&mut ratios),
        micros: [median(&mut own), median(&mut other)],
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
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = (share * (values.len().saturating_sub(1)) as f64).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_divides_the_reference_by_ours() {
        let mut ours = || Ok(Duration::from_micros(50));
        let mut floor = || Ok(Duration::from_micros(20));
        let ratio = ratio(3, 10, &mut ours, &mut floor).unwrap();
        assert!((ratio.median - 0.4).abs() < 1e-9);
        assert!((ratio.micros[0] - 5.0).abs() < 1e-9 && (ratio.micros[1] - 2.0).abs() < 1e-9);
    }

    #[test]
    fn percentile_is_one_of_the_values() {
        let mut values = [3.0, 1.0, 2.0, 4.0, 5.0];
        assert!((percentile(&mut values, 0.5) - 3.0).abs() < 1e-9);
        assert!((percentile(&mut values, 1.0) - 5.0).abs() < 1e-9);
    }
}
