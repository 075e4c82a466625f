//! The state is a fold: the base, then the effects of all entries in key order, without void
//! effects.
//!
//! Pure: it depends only on rows, effects and write sets, so equal items give equal state. Effects
//! are per row and independent of other rows, so a row can be folded alone, and a late entry costs
//! only the rows that it names.

use super::effect::Effect;
use super::row::{LogRow, Placement, RowName};
use super::write_set::WriteSet;
use rejoin_protocol::mutant::{self, Mutant};

/// Result of an effect on the current row.
#[derive(Debug, Clone, PartialEq)]
pub enum AppliedEffect {
    /// No change: the row is missing, or its author may not change it so.
    Void,
    /// The new row.
    Row(Option<LogRow>),
}

/// Applies an effect to the current row.
///
/// The effect is void if the row is missing (except for an insert), or if the write set does not
/// permit it: the row before or after the effect is in a bucket outside of the set or in no bucket,
/// or a row that the author cannot read moves. To write a row in several buckets, the author must
/// be a member of all of them.
pub fn apply_effect(
    row: &RowName,
    effect: &Effect,
    before: Option<&LogRow>,
    write_set: &WriteSet,
    placement: &dyn Placement,
) -> AppliedEffect {
    if before.is_none() && !matches!(effect, Effect::Insert(_)) {
        return AppliedEffect::Void;
    }
    let after = effect.on(before);
    if !mutant::on(Mutant::NothingVoid)
        && !write_set.permits(row, before, after.as_ref(), placement)
    {
        return AppliedEffect::Void;
    }
    AppliedEffect::Row(after)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Column, buckets, image, row};
    use super::*;

    #[test]
    fn effect_outside_the_write_set_is_void() {
        let insert = |buckets: &str| Effect::Insert(image(buckets, "new"));
        let text = || Effect::Update([("text".into(), "new".into())].into());
        let to = |buckets: &str| Effect::Update([("buckets".into(), buckets.into())].into());
        let gone = AppliedEffect::Row(None);
        let is = |buckets: &str, text: &str| AppliedEffect::Row(Some(image(buckets, text)));
        // current row (buckets), effect, author's buckets, result
        let table = [
            (None, insert("a"), "a", is("a", "new")),
            (None, insert("b"), "a", AppliedEffect::Void),
            (None, insert(""), "a", AppliedEffect::Void),
            (None, text(), "a", AppliedEffect::Void),
            (None, Effect::Delete, "a", AppliedEffect::Void),
            (Some("a"), insert("a"), "a", is("a", "new")),
            (Some("b"), insert("a"), "a", AppliedEffect::Void),
            (Some("a"), insert("b"), "a", AppliedEffect::Void),
            (Some("a"), text(), "a", is("a", "new")),
            (Some("b"), text(), "a", AppliedEffect::Void),
            (Some("a"), to("b"), "a b", is("b", "old")),
            (Some("a"), to("b"), "a", AppliedEffect::Void),
            (Some("a"), to("b"), "b", AppliedEffect::Void),
            (Some("a"), Effect::Delete, "a", gone.clone()),
            (Some("b"), Effect::Delete, "a", AppliedEffect::Void),
            // Several buckets: the author must be a member of each.
            (Some("a b"), text(), "a", AppliedEffect::Void),
            (Some("a b"), text(), "a b", is("a b", "new")),
            (Some("a b"), to("a"), "a", AppliedEffect::Void),
            (Some("a"), to("a b"), "a", AppliedEffect::Void),
            (Some("a"), to("a b"), "a b c", is("a b", "old")),
            (Some("a b"), Effect::Delete, "b", AppliedEffect::Void),
            (Some(""), text(), "a", AppliedEffect::Void),
        ];
        for (before, effect, write_set, expected) in table {
            let before = before.map(|buckets| image(buckets, "old"));
            let within = WriteSet::from(buckets(write_set));
            let actual = apply_effect(&row("r"), &effect, before.as_ref(), &within, &Column);
            assert_eq!(actual, expected, "{effect:?} on {before:?} within {write_set:?}");
        }
    }
}
