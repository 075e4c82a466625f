//! The rules as stories, each with the switch that makes it go wrong.

mod content;
mod judged;
mod sight;

use super::world::World;
use crate::mutant::{self, Mutant};
use content::*;
use judged::*;
use sight::*;

fn two() -> World {
    World::new(&[("phone", "a"), ("tablet", "a")], &[("r0", "a")])
}

macro_rules! stories {
    ($($story:ident: [$($mutant:ident),*];)+) => {
        mod told {
            $(#[test]
            fn $story() {
                super::$story();
            })+
        }

        /// Every switch of these rules, and the story that notices it.
        const NOTICED: &[(Mutant, fn())] = &[$($((Mutant::$mutant, $story),)*)+];
    };
}

stories! {
    a_late_arrival_takes_its_place: [RevisionKept, OwnNotSent];
    an_effect_outside_its_authors_buckets_is_void: [NothingVoid];
    an_ack_covers_the_revision_that_it_names: [AckCoversAll];
    a_late_copy_of_an_old_revision_is_not_taken: [];
    plain_sql_keeps_what_it_set: [PlainRecaptured];
    a_run_that_says_what_the_server_holds_is_no_correction: [RowsAloneDecide];
    nothing_is_run_again_by_a_mere_fetch: [RunUnasked];
    a_refusal_may_end: [];
    keys_of_a_fast_clock_are_given_again_in_order: [];
    a_new_key_lies_above_what_was_seen: [KeyBelowSeen];
    an_old_copy_of_a_request_is_not_read: [OldRequestRead];
    a_batch_ends_at_the_first_that_is_not_taken: [BatchGoesOn];
    an_accepted_entry_is_never_accepted_again: [IdsForgotten];
    what_is_final_is_not_denied: [IdentityLast];
    an_author_learns_what_became_of_his_own: [];
    whoever_saw_it_hears_that_it_is_gone: [NotToldGone];
    a_move_between_buckets_reaches_everybody: [ViewNotRenewed];
    who_leaves_takes_nothing_back: [];
    who_left_is_refused_by_the_write_set: [NotFrozen];
    who_leaves_folds_like_anybody: [AuthorityKept];
    the_same_effects_under_other_buckets_are_news: [WriteSetOverlooked];
    a_join_runs_again_what_read_the_tables: [];
    a_join_runs_again_what_did_not_count: [];
    what_is_void_is_compared_as_it_was_meant: [];
    what_comes_back_to_its_author_is_run_again: [];
    a_cursor_that_was_passed_by_takes_a_snapshot: [NoFloor, RetentionIgnored];
    what_comes_too_late_counts_later: [OneKeyAlone];
    a_late_entry_finds_its_place_at_a_joiner: [RowsAsTheyStand];
    a_restored_server_gets_again_what_it_lost: [EpochOverlooked];
    two_copies_become_two_authors: [CopyUnnoticed];
    an_own_entry_counts_as_the_server_shows_it: [OwnEffectsAlways];
    the_referee_judges_while_authors_are_away: [];
    the_referees_word_stands: [];
    the_author_does_not_overrule_the_referee: [RefereeUnheard, RefereeOverruled];
    a_correction_of_what_has_changed_is_not_taken: [CorrectionUnread];
    the_referee_sees_what_the_author_sees: [RefereeSeesAll];
    a_parked_entry_is_tried_again_edited_or_discarded: [];
    undo_sets_back_what_the_entry_changed: [];
    a_row_in_several_buckets: [];
    a_newer_schema_adds_columns: [];
    nothing_hidden_is_sent: [];
}

#[test]
fn every_switch_is_noticed_by_its_story() {
    for (broken, story) in NOTICED {
        let told = std::panic::catch_unwind(|| mutant::with(*broken, story));
        assert!(told.is_err(), "nothing notices {broken:?}");
    }
}
