//! Views: what a viewer gets of an effect, by where its row lay before and after it in the server's own fold (L9).
//!
//! Whoever folds what he gets has, at every key, exactly his part of the server's rows: an effect on a row that moves is
//! an insert to those to whom it comes, a delete to those from whom it goes, and nothing to all others.

use super::effect::Effect;
use super::fold::{Laid, lay};
use super::ids::Buckets;
use super::row::{Image, Placement, RowName};

/// What an entry did to one row, as the server saw it. Void effects have none.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// The effect.
    pub effect: Effect,
    /// Where the row lay before; no bucket if there was none.
    pub before: Buckets,
    /// Where it lies after.
    pub after: Buckets,
    /// The whole row after, if it has come into another bucket.
    pub image: Option<Image>,
}

impl Passage {
    /// Lays an effect over the row as it stands there: the row after it, and what is shown of that.
    pub fn of(
        row: &RowName,
        effect: &Effect,
        before: Option<&Image>,
        write_set: &Buckets,
        placement: &dyn Placement,
    ) -> (Option<Image>, Option<Self>) {
        let Laid::Row(after) = lay(row, effect, before, write_set, placement) else {
            return (before.cloned(), None);
        };
        let lies = |image: Option<&Image>| {
            image.map_or_else(Buckets::default, |image| placement.buckets(row, image))
        };
        let (from, to) = (lies(before), lies(after.as_ref()));
        let image = if to.within(&from) { None } else { after.clone() };
        (after, Some(Self { effect: effect.clone(), before: from, after: to, image }))
    }

    /// What a viewer with these buckets gets.
    pub fn shown(&self, viewer: &Buckets) -> Option<Effect> {
        match (self.before.meet(viewer), self.after.meet(viewer)) {
            (true, true) => Some(self.effect.clone()),
            (false, true) => self.image.clone().map(Effect::Insert),
            (true, false) => Some(Effect::Delete),
            (false, false) => None,
        }
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
    fn a_viewer_gets_what_keeps_his_rows_his_part_of_the_servers() {
        let text = || Effect::Update([("text".into(), "new".into())].into());
        let to = |buckets: &str| Effect::Update([("buckets".into(), buckets.into())].into());
        let put = |buckets: &str| Effect::Insert(image(buckets, "old"));
        // what stood (buckets), the effect, the viewer's buckets, what he gets
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
        let all = buckets("a b c");
        for (before, effect, viewer, shown) in table {
            let before = before.map(|buckets| image(buckets, "old"));
            let (_, passage) = Passage::of(&row("r"), &effect, before.as_ref(), &all, &Column);
            let got = passage.and_then(|passage| passage.shown(&buckets(viewer)));
            assert_eq!(got, shown, "{effect:?} on {before:?} for {viewer}");
        }
    }

    #[test]
    fn a_void_effect_shows_nobody_anything() {
        let before = image("b", "old");
        let (after, passage) =
            Passage::of(&row("r"), &Effect::Delete, Some(&before), &buckets("a"), &Column);
        assert_eq!((after, passage), (Some(before), None));
    }
}
