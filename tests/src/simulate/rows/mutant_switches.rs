//! The mutation switches that a run of the row model must notice, and by which invariants.

use rejoin_protocol::mutant::Mutant::{
    AfterIgnored, AnswerByPieces, BlindWritesFree, BucketsUnwalked, CancelForgets, ColumnsByName,
    EndedNotSent, GuardLeftOpen, HistoryNotRecalled, LostPageTaken, NoClosureByRows, NoRecheck,
    NoTakeOver, NotStartedOver, OtherLifeUnnoticed, ReadersWrite, ReadsUntied, UncertainJudged,
    UncertainRunAgain, UndoOverLater, VerdictForgotten, WatermarkIgnored,
};

use crate::simulate::{Switch, switches};

/// In the order of the rules.
pub(super) const SWITCHES: &[Switch] = switches! {
    "R2", BlindWritesFree, 33 => "view-is-base-plus-pending";
    "R3", NoClosureByRows, 2 => "view-is-base-plus-pending", "base-is-what-the-server-shows";
    "R4", NotStartedOver, 64 => "view-is-base-plus-pending";
    "R5", GuardLeftOpen, 98 => "base-is-what-the-server-shows";
    "R7", UncertainRunAgain, 4 => "sent-stays-as-sent";
    "R11", NoTakeOver, 8 => "conflict-for-a-reason";
    "O2", VerdictForgotten, 3 => "accepted-is-applied", "parked-is-not-applied";
    "O4", AfterIgnored, 4 => "reader-follows-writer";
    "O4", ReadsUntied, 4 => "reader-follows-writer";
    "O5", AnswerByPieces, 22 => "base-is-what-the-server-shows";
    "O6", UncertainJudged, 32 => "parked-is-not-applied";
    "O9", NoRecheck, 22 => "base-is-what-the-server-shows";
    "O12", CancelForgets, 4 => "withdrawal-has-a-verdict";
    "O13", UndoOverLater, 15 => "undo-takes-back-its-own-edit";
    "O14", OtherLifeUnnoticed, 2 => "acceptance-survives-restore", "base-is-what-the-server-shows";
    "O14", LostPageTaken, 2 => "base-is-what-the-server-shows", "devices-agree";
    "O14", HistoryNotRecalled, 16 => "acceptance-survives-restore";
    "S1", ColumnsByName, 22 => "column-is-the-one-meant";
    "C3", WatermarkIgnored, 9 => "base-is-what-the-server-shows", "devices-agree";
    "A1", ReadersWrite, 12 => "writes-need-the-right";
    "A2", EndedNotSent, 105 => "conflict-for-a-reason", "rejected-for-a-reason";
    "C4", BucketsUnwalked, 8 => "base-is-what-the-server-shows", "devices-agree";
};
