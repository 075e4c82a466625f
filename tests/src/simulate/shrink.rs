//! From a world that breaks its law to a short one that still does.

use super::{Model, Rule, Told, tell};

/// Leaves out steps while the world still breaks its law: halves first, then quarters, at last one by one. `most` worlds are
/// lived for it. Steps that break nothing are given back as they are.
pub fn shrink<M: Model>(
    model: &M,
    seed: u64,
    steps: &[M::Step],
    mutant: Option<Rule>,
    most: usize,
) -> Vec<M::Step> {
    let mut lived = 0;
    let mut breaks = |steps: &[M::Step]| {
        lived += 1;
        lived <= most && tell(model, seed, steps, mutant, &mut Told::counting()).is_err()
    };
    let mut kept = steps.to_vec();
    if !breaks(&kept) {
        return kept;
    }
    let mut size = kept.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut shorter = false;
        while at < kept.len() {
            let end = (at + size).min(kept.len());
            let rest: Vec<M::Step> = [&kept[..at], &kept[end..]].concat();
            if breaks(&rest) {
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
