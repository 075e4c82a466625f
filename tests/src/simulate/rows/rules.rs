//! The mutation switches that a run of the row model must notice, and by which invariants.

use rejoin_core::mutant::Mutant::{
    AnswerByPieces, BlindWritesFree, CancelForgets, ColumnsByName, GuardLeftOpen,
    HistoryNotRecalled, NoClosureByRows, NoRecheck, NoTakeOver, NotStartedOver, ReadsUntied,
    UncertainJudged, UncertainRunAgain, UndoOverLater,
};
use rejoin_server::mutant::Mutant::{
    AfterIgnored, BucketsUnwalked, OtherLifeUnnoticed, VerdictForgotten, WatermarkIgnored,
};

use crate::simulate::Rule::{Engine, Server};
use crate::simulate::{Switch, switches};

/// In the order of the rules.
pub(super) const SWITCHES: &[Switch] = switches! {
    "R2", Engine(BlindWritesFree) => "view-is-base-plus-pending";
    "R3", Engine(NoClosureByRows) => "view-is-base-plus-pending", "base-is-what-the-server-shows";
    "R4", Engine(NotStartedOver) => "view-is-base-plus-pending";
    "R5", Engine(GuardLeftOpen) => "base-is-what-the-server-shows";
    "R7", Engine(UncertainRunAgain) => "sent-stays-as-sent";
    "R11", Engine(NoTakeOver) => "conflict-for-a-reason";
    "O2", Server(VerdictForgotten) => "accepted-is-applied", "parked-is-not-applied";
    "O4", Server(AfterIgnored) => "reader-follows-writer";
    "O4", Engine(ReadsUntied) => "reader-follows-writer";
    "O5", Engine(AnswerByPieces) => "base-is-what-the-server-shows";
    "O6", Engine(UncertainJudged) => "parked-is-not-applied";
    "O9", Engine(NoRecheck) => "base-is-what-the-server-shows";
    "O12", Engine(CancelForgets) => "withdrawal-has-a-verdict";
    "O13", Engine(UndoOverLater) => "undo-takes-back-its-own-edit";
    "O14", Server(OtherLifeUnnoticed) => "acceptance-survives-restore", "base-is-what-the-server-shows";
    "O14", Engine(HistoryNotRecalled) => "acceptance-survives-restore";
    "S1", Engine(ColumnsByName) => "column-is-the-one-meant";
    "C3", Server(WatermarkIgnored) => "base-is-what-the-server-shows", "devices-agree";
    "C4", Server(BucketsUnwalked) => "base-is-what-the-server-shows", "devices-agree";
};
