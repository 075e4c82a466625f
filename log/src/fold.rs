//! State is a fold (L1): the base, then the effects of all entries in the order of their keys, each where it counts.
//!
//! Pure, and blind to everything but rows, effects and write sets: so equal items give equal state (I9). Effects are one per
//! row, and none looks at another row; so a row can be folded alone, and a late entry costs the rows that it names.

use super::effect::Effect;
use super::ids::Buckets;
use super::row::{Image, Placement, RowName};
use rejoin_protocol::mutant::{self, Mutant};

/// What an effect does where it stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Laid {
    /// Nothing: the row is missing, or lies, before or after, in a bucket that the author may not write.
    Void,
    /// The row is this from here on.
    Row(Option<Image>),
}

/// Lays an effect over the row as it stands there (L1).
///
/// Void if the row is missing (but for an insert), or if the row as it stands, or as it would be after, lies in a bucket
/// outside the write set, or in no bucket at all. In several buckets at once a row is written by those who may write each.
pub fn lay(
    row: &RowName,
    effect: &Effect,
    before: Option<&Image>,
    write_set: &Buckets,
    placement: &dyn Placement,
) -> Laid {
    if before.is_none() && !matches!(effect, Effect::Insert(_)) {
        return Laid::Void;
    }
    let after = effect.on(before);
    let outside = |image: Option<&Image>| {
        image.is_some_and(|image| !writable(row, image, write_set, placement))
    };
    if !mutant::on(Mutant::NothingVoid) && (outside(before) || outside(after.as_ref())) {
        return Laid::Void;
    }
    Laid::Row(after)
}

/// Whether an author who may write these buckets may write this row: all of its buckets are among them, and there is one.
pub fn writable(
    row: &RowName,
    image: &Image,
    write_set: &Buckets,
    placement: &dyn Placement,
) -> bool {
    let buckets = placement.buckets(row, image);
    !buckets.is_empty() && buckets.within(write_set)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Column, image, row};
    use super::*;

    #[test]
    fn an_effect_counts_only_where_its_author_may_write() {
        let insert = |buckets: &str| Effect::Insert(image(buckets, "new"));
        let text = || Effect::Update([("text".into(), "new".into())].into());
        let to = |buckets: &str| Effect::Update([("buckets".into(), buckets.into())].into());
        let gone = Laid::Row(None);
        let is = |buckets: &str, text: &str| Laid::Row(Some(image(buckets, text)));
        // what stands (buckets), the effect, the author's buckets, what it does
        let table = [
            (None, insert("a"), "a", is("a", "new")),
            (None, insert("b"), "a", Laid::Void),
            (None, insert(""), "a", Laid::Void),
            (None, text(), "a", Laid::Void),
            (None, Effect::Delete, "a", Laid::Void),
            (Some("a"), insert("a"), "a", is("a", "new")),
            (Some("b"), insert("a"), "a", Laid::Void),
            (Some("a"), insert("b"), "a", Laid::Void),
            (Some("a"), text(), "a", is("a", "new")),
            (Some("b"), text(), "a", Laid::Void),
            (Some("a"), to("b"), "a b", is("b", "old")),
            (Some("a"), to("b"), "a", Laid::Void),
            (Some("a"), to("b"), "b", Laid::Void),
            (Some("a"), Effect::Delete, "a", gone.clone()),
            (Some("b"), Effect::Delete, "a", Laid::Void),
            // Several buckets at once: each must be the author's.
            (Some("a b"), text(), "a", Laid::Void),
            (Some("a b"), text(), "a b", is("a b", "new")),
            (Some("a b"), to("a"), "a", Laid::Void),
            (Some("a"), to("a b"), "a", Laid::Void),
            (Some("a"), to("a b"), "a b c", is("a b", "old")),
            (Some("a b"), Effect::Delete, "b", Laid::Void),
            (Some(""), text(), "a", Laid::Void),
        ];
        for (before, effect, write_set, laid) in table {
            let before = before.map(|buckets| image(buckets, "old"));
            let write_set = write_set.split_whitespace().collect();
            let did = lay(&row("r"), &effect, before.as_ref(), &write_set, &Column);
            assert_eq!(did, laid, "{effect:?} on {before:?} within {write_set:?}");
        }
    }
}
