//! The rules as stories, each with the switch that makes it go wrong.

mod content;
mod judged;
mod sight;

use super::world::World;
use crate::mutant::{self, Mutant};

fn two() -> World {
    World::new(&[("phone", "a"), ("tablet", "a")], &[("r0", "a")])
}

/// Every switch of these rules, and the story that notices it.
const NOTICED: &[(Mutant, fn())] = &[
    (Mutant::RevisionKept, content::a_late_arrival_takes_its_place),
    (Mutant::OwnNotSent, content::a_late_arrival_takes_its_place),
    (Mutant::NothingVoid, content::an_effect_outside_its_authors_buckets_is_void),
    (Mutant::AckCoversAll, content::an_ack_covers_the_revision_that_it_names),
    (Mutant::PlainRecaptured, content::plain_sql_keeps_what_it_set),
    (Mutant::RowsAloneDecide, content::a_run_that_says_what_the_server_holds_is_no_correction),
    (Mutant::RunUnasked, content::nothing_is_run_again_by_a_mere_fetch),
    (Mutant::KeyBelowSeen, content::a_new_key_lies_above_what_was_seen),
    (Mutant::CounterUnbounded, content::a_counter_beyond_reason_is_not_taken),
    (Mutant::OldRequestRead, content::an_old_copy_of_a_request_is_not_read),
    (Mutant::BatchGoesOn, content::a_batch_ends_at_the_first_that_is_not_taken),
    (Mutant::IdsForgotten, content::an_accepted_entry_is_never_accepted_again),
    (Mutant::IdentityLast, content::what_is_final_is_not_denied),
    (Mutant::NotToldGone, sight::whoever_saw_it_hears_that_it_is_gone),
    (Mutant::ViewNotRenewed, sight::a_move_between_buckets_reaches_everybody),
    (Mutant::NotFrozen, sight::who_left_is_refused_by_the_write_set),
    (Mutant::AuthorityKept, sight::what_was_accepted_unheard_is_given_up_too),
    (Mutant::AuthorityKept, sight::who_leaves_folds_like_anybody),
    (Mutant::WriteSetOverlooked, sight::the_same_effects_under_other_buckets_are_news),
    (Mutant::NoFloor, sight::a_cursor_that_was_passed_by_takes_a_snapshot),
    (Mutant::RetentionIgnored, sight::a_cursor_that_was_passed_by_takes_a_snapshot),
    (Mutant::OneKeyAlone, sight::what_comes_too_late_counts_later),
    (Mutant::RowsAsTheyStand, sight::a_late_entry_finds_its_place_at_a_joiner),
    (Mutant::EpochOverlooked, sight::a_restored_server_gets_again_what_it_lost),
    (
        Mutant::OldSnapshotFinal,
        sight::what_was_acknowledged_after_a_snapshot_was_made_is_not_final_by_it,
    ),
    (Mutant::CopyUnnoticed, sight::two_copies_become_two_authors),
    (Mutant::OwnEffectsAlways, sight::an_own_entry_counts_as_the_server_shows_it),
    (Mutant::RefereeUnheard, judged::the_author_does_not_overrule_the_referee),
    (Mutant::RefereeOverruled, judged::the_author_does_not_overrule_the_referee),
    (Mutant::CorrectionUnread, judged::a_correction_of_what_has_changed_is_not_taken),
    (Mutant::RefereeSeesAll, judged::the_referee_sees_what_the_author_sees),
];

#[test]
fn every_switch_is_noticed_by_its_story() {
    for (broken, story) in NOTICED {
        let told = std::panic::catch_unwind(|| mutant::with(*broken, story));
        assert!(told.is_err(), "nothing notices {broken:?}");
    }
}
