//! The mutation switches that a run of the row model must notice, and by which invariants.

use rejoin_protocol::mutant::Mutant::{
    AfterIgnored, AnswerByPieces, BlindWritesFree, BucketsUnwalked, CancelForgets, ColumnsByName,
    GuardLeftOpen, HistoryNotRecalled, LostPageTaken, NoClosureByRows, NoRecheck, NoTakeOver,
    NotStartedOver, OtherLifeUnnoticed, ReadsUntied, UncertainJudged, UncertainRunAgain,
    UndoOverLater, VerdictForgotten, WatermarkIgnored,
};

use crate::simulate::{Switch, switches};

/// In the order of the rules.
pub(super) const SWITCHES: &[Switch] = switches! {
    "R2", BlindWritesFree => "view-is-base-plus-pending";
    "R3", NoClosureByRows => "view-is-base-plus-pending", "base-is-what-the-server-shows";
    "R4", NotStartedOver => "view-is-base-plus-pending";
    "R5", GuardLeftOpen => "base-is-what-the-server-shows";
    "R7", UncertainRunAgain => "sent-stays-as-sent";
    "R11", NoTakeOver => "conflict-for-a-reason";
    "O2", VerdictForgotten => "accepted-is-applied", "parked-is-not-applied";
    "O4", AfterIgnored => "reader-follows-writer";
    "O4", ReadsUntied => "reader-follows-writer";
    "O5", AnswerByPieces => "base-is-what-the-server-shows";
    "O6", UncertainJudged => "parked-is-not-applied";
    "O9", NoRecheck => "base-is-what-the-server-shows";
    "O12", CancelForgets => "withdrawal-has-a-verdict";
    "O13", UndoOverLater => "undo-takes-back-its-own-edit";
    "O14", OtherLifeUnnoticed => "acceptance-survives-restore", "base-is-what-the-server-shows";
    "O14", LostPageTaken => "base-is-what-the-server-shows", "devices-agree";
    "O14", HistoryNotRecalled => "acceptance-survives-restore";
    "S1", ColumnsByName => "column-is-the-one-meant";
    "C3", WatermarkIgnored => "base-is-what-the-server-shows", "devices-agree";
    "C4", BucketsUnwalked => "base-is-what-the-server-shows", "devices-agree";
};
