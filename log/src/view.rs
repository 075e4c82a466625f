//! Views: what a viewer receives of an effect, depending on the row's buckets before and after it
//! in the server's fold.
//!
//! A viewer that folds its views has, at every key, exactly the visible part of the server's rows.
//! An effect that moves a row is an insert for viewers of the new bucket and a delete for viewers
//! of the old one.

use serde::{Deserialize, Serialize};

use super::effect::Effect;
use super::fold::{AppliedEffect, apply_effect};
use super::ids::Buckets;
use super::row::{LogRow, Placement, RowName};
use super::write_set::WriteSet;

/// The effect of an entry on one row on the server. Void effects have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowEffect {
    /// The effect.
    pub effect: Effect,
    /// The row's buckets before; none if it did not exist.
    pub before: Buckets,
    /// The row's buckets after.
    pub after: Buckets,
    /// The whole row after, if its buckets changed.
    pub image: Option<LogRow>,
}

impl RowEffect {
    /// Applies an effect to the current row: returns the row after it, and its view.
    pub fn of(
        row: &RowName,
        effect: &Effect,
        before: Option<&LogRow>,
        write_set: &WriteSet,
        placement: &dyn Placement,
    ) -> (Option<LogRow>, Option<Self>) {
        let AppliedEffect::Row(after) = apply_effect(row, effect, before, write_set, placement)
        else {
            return (before.cloned(), None);
        };
        let lies = |image: Option<&LogRow>| {
            image.map_or_else(Buckets::default, |image| placement.buckets(row, image))
        };
        let (from, to) = (lies(before), lies(after.as_ref()));
        let image = if to.within(&from) { None } else { after.clone() };
        (after, Some(Self { effect: effect.clone(), before: from, after: to, image }))
    }

    /// The change for a viewer with these buckets.
    pub fn shown(&self, viewer: &Buckets) -> Option<Effect> {
        match (self.before.meet(viewer), self.after.meet(viewer)) {
            (true, true) => Some(self.effect.clone()),
            (false, true) => self.image.clone().map(Effect::Insert),
            (true, false) => Some(Effect::Delete),
            (false, false) => None,
        }
    }

    /// Whether the row, before or after it, exists and is not for this viewer.
    pub fn hides(&self, viewer: &Buckets) -> bool {
        let hidden = |lies: &Buckets| !lies.is_empty() && !lies.meet(viewer);
        hidden(&self.before) || hidden(&self.after)
    }

    /// The buckets that it touches.
    pub fn touched(&self) -> Buckets {
        self.before.with(&self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Column, buckets, image, row};
    use super::*;

    #[test]
    fn folded_views_equal_the_visible_part_of_the_servers_rows() {
        let text = || Effect::Update([("text".into(), "new".into())].into());
        let to = |buckets: &str| Effect::Update([("buckets".into(), buckets.into())].into());
        let put = |buckets: &str| Effect::Insert(image(buckets, "old"));
        // row before (buckets), effect, the viewer's buckets, change for the viewer
        let table = [
            (Some("a"), text(), "a", Some(text())),
            (Some("a"), text(), "b", None),
            (None, put("a"), "a", Some(put("a"))),
            (None, put("a"), "b", None),
            (Some("a"), Effect::Delete, "a", Some(Effect::Delete)),
            (Some("a"), Effect::Delete, "b", None),
            (Some("a"), to("b"), "a", Some(Effect::Delete)),
            (Some("a"), to("b"), "b", Some(put("b"))),
            (Some("a"), to("b"), "a b", Some(to("b"))),
            (Some("a"), to("b"), "c", None),
            (Some("a"), put("b"), "a", Some(Effect::Delete)),
            (Some("a"), put("b"), "b", Some(put("b"))),
            // Several buckets at once.
            (Some("a"), to("a b"), "a", Some(to("a b"))),
            (Some("a"), to("a b"), "b", Some(put("a b"))),
            (Some("a b"), to("a"), "b", Some(Effect::Delete)),
            (Some("a b"), to("a"), "a", Some(to("a"))),
            (Some("a b"), text(), "b", Some(text())),
            (Some("a b"), to("b c"), "a", Some(Effect::Delete)),
            (Some("a b"), to("b c"), "c", Some(put("b c"))),
        ];
        let all = WriteSet::from(buckets("a b c"));
        for (before, effect, viewer, shown) in table {
            let before = before.map(|buckets| image(buckets, "old"));
            let (_, passage) = RowEffect::of(&row("r"), &effect, before.as_ref(), &all, &Column);
            let got = passage.and_then(|passage| passage.shown(&buckets(viewer)));
            assert_eq!(got, shown, "{effect:?} on {before:?} for {viewer}");
        }
    }

    #[test]
    fn void_effect_is_visible_to_no_viewer() {
        let before = image("b", "old");
        let (after, passage) =
            RowEffect::of(&row("r"), &Effect::Delete, Some(&before), &buckets("a").into(), &Column);
        assert_eq!((after, passage), (Some(before), None));
    }
}
