//! Instruction counts by callgrind: reproducible for the same binary and input, independent of
//! other load.
//!
//! Each workload runs at one and at two times its scale; the difference per unit excludes what
//! is prepared once.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::measure::Variant;
use crate::report::Line;
use crate::workloads::{COUNTED, TIMED, Workload};

/// Whether callgrind is installed.
pub(crate) fn available() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Counts every workload of [`COUNTED`].
pub(crate) fn lines() -> Result<Vec<Line>> {
    COUNTED.iter().enumerate().map(|(index, workload)| line(index, workload)).collect()
}

fn line(index: usize, workload: &Workload) -> Result<Line> {
    let ours = per_unit(index, workload, Variant::Ours)?;
    let reference = per_unit(index, workload, Variant::Reference)?;
    Ok(Line {
        name: workload.name.to_owned(),
        against: workload.against.to_owned(),
        ratio: Some(ours / reference),
        spread: None,
        goal: Some(workload.goal),
        value: None,
        unit: String::new(),
        instructions: Some([ours, reference]),
    })
}

#[allow(clippy::cast_precision_loss)]
fn per_unit(index: usize, workload: &Workload, variant: Variant) -> Result<f64> {
    let once = count(index, variant, workload.scale)?;
    let twice = count(index, variant, 2 * workload.scale)?;
    Ok(twice.saturating_sub(once) as f64 / workload.scale as f64)
}

fn count(index: usize, variant: Variant, scale: usize) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--error-exitcode=1"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["run", &index.to_string(), &variant_name(variant), &scale.to_string()])
        .output()?;
    ensure!(output.status.success(), "callgrind: {}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&out)?;
    let summary = text
        .lines()
        .find_map(|line| line.strip_prefix("summary: ").or_else(|| line.strip_prefix("totals: ")));
    Ok(summary.context("callgrind wrote no totals")?.trim().parse()?)
}

fn variant_name(variant: Variant) -> String {
    match variant {
        Variant::Ours => "ours".to_owned(),
        Variant::Reference => "reference".to_owned(),
    }
}

/// Runs one workload once under callgrind; works for all workloads, for manual inspection.
pub(crate) fn run_one(index: usize, variant: Variant, scale: usize) -> Result<()> {
    let workload = COUNTED.iter().chain(TIMED).nth(index).context("no such workload")?;
    let folder = tempfile::tempdir()?;
    (workload.run)(variant, folder.path(), scale).map(drop)
}

/// The maximum ratio to the committed baseline.
pub(crate) const GATE: f64 = 1.05;

/// The lines with more than [`GATE`] times the baseline's instructions, or without a baseline.
pub(crate) fn beyond(baseline: &[Line], lines: &[Line]) -> Vec<String> {
    let grown = |line: &Line| -> Option<String> {
        let [ours, _] = line.instructions?;
        let Some([was, _]) = baseline
            .iter()
            .find(|known| known.name == line.name)
            .and_then(|known| known.instructions)
        else {
            return Some(format!("{}: not in the baseline", line.name));
        };
        let grown = ours / was;
        (grown > GATE).then(|| {
            format!(
                "{}: {ours:.0} instructions, {grown:.2} times the baseline's {was:.0}",
                line.name
            )
        })
    };
    lines.iter().filter_map(grown).collect()
}

/// The committed baseline.
pub(crate) fn baseline(path: &Path) -> Result<Vec<Line>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("no baseline at {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, ours: f64) -> Line {
        Line {
            name: name.to_owned(),
            against: String::new(),
            ratio: None,
            spread: None,
            goal: None,
            value: None,
            unit: String::new(),
            instructions: Some([ours, 1.0]),
        }
    }

    #[test]
    fn gate_fails_above_the_maximum_ratio() {
        let baseline = [line("a", 100.0)];
        assert!(beyond(&baseline, &[line("a", 105.0)]).is_empty());
        assert_eq!(beyond(&baseline, &[line("a", 106.0)]).len(), 1);
        assert_eq!(beyond(&baseline, &[line("b", 1.0)]).len(), 1);
    }
}
