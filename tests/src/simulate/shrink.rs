//! Reduces a failed run to few steps that still fail in the same way.

use rejoin_protocol::mutant::Mutant;

use super::{Model, RunReport, execute_run};

/// Leaves out steps while the run still fails by the same invariant: first halves, then quarters,
/// in the end single steps. Executes at most `most` runs. Steps that do not fail are returned
/// unchanged.
pub fn shrink<M: Model>(
    model: &M,
    seed: u64,
    steps: &[M::Step],
    mutant: Option<Mutant>,
    most: usize,
) -> Vec<M::Step> {
    let fails = |steps: &[M::Step]| {
        let failed = execute_run(model, seed, steps, mutant, &mut RunReport::default());
        failed.err().map(|why| why.name())
    };
    let mut kept = steps.to_vec();
    let Some(name) = fails(&kept) else { return kept };
    let (mut runs, mut size) = (1, kept.len().div_ceil(2).max(1));
    loop {
        let (mut at, mut shorter) = (0, false);
        while at < kept.len() {
            let end = (at + size).min(kept.len());
            let rest: Vec<M::Step> = [&kept[..at], &kept[end..]].concat();
            runs += 1;
            if runs <= most && fails(&rest) == Some(name) {
                kept = rest;
                shorter = true;
            } else {
                at = end;
            }
        }
        if size > 1 {
            size = size.div_ceil(2);
        } else if !shorter {
            return kept;
        }
    }
}
