//! Every rule of the row model, broken: which switch breaks it. Each must be noticed by a world.

use rejoin_core::mutant::Mutant;
use rejoin_server::mutant::Mutant as ServerMutant;

use super::super::Rule;

/// The rule and what breaks it, in the order of the rules.
pub(super) const BROKEN: &[(&str, Rule)] = &[
    ("R1", Rule::Engine(Mutant::EffectRenewed)),
    ("R2", Rule::Engine(Mutant::BlindWritesFree)),
    ("R3", Rule::Engine(Mutant::NoClosureByRows)),
    ("R4", Rule::Engine(Mutant::NotStartedOver)),
    ("R5", Rule::Engine(Mutant::GuardLeftOpen)),
    ("R6", Rule::Engine(Mutant::LocalInActions)),
    ("R7", Rule::Engine(Mutant::UncertainRunAgain)),
    ("R8", Rule::Engine(Mutant::FailedLaidDown)),
    ("R9", Rule::Engine(Mutant::VersionOfPresent)),
    ("R10", Rule::Engine(Mutant::NoBecauseOf)),
    ("R10", Rule::Engine(Mutant::ChainLeft)),
    ("R10", Rule::Engine(Mutant::ViewBroughtBack)),
    ("R11", Rule::Engine(Mutant::NoTakeOver)),
    ("O1", Rule::Engine(Mutant::NewValueExcuses)),
    ("O2", Rule::Server(ServerMutant::VerdictForgotten)),
    ("O3", Rule::Server(ServerMutant::ImagesFromBefore)),
    ("O4", Rule::Server(ServerMutant::AfterIgnored)),
    ("O4", Rule::Engine(Mutant::ReadsUntied)),
    ("O5", Rule::Engine(Mutant::SentAfterSend)),
    ("O5", Rule::Engine(Mutant::AnswerByPieces)),
    ("O6", Rule::Engine(Mutant::UncertainJudged)),
    ("O10", Rule::Engine(Mutant::ConflictSentAgain)),
    ("O11", Rule::Engine(Mutant::TimeJudgedHere)),
    ("O11", Rule::Engine(Mutant::PresentSeen)),
    ("O11", Rule::Server(ServerMutant::TimeUnasked)),
    ("O14", Rule::Server(ServerMutant::OtherLifeUnnoticed)),
    ("O15", Rule::Engine(Mutant::CloneRenamed)),
    ("S1", Rule::Engine(Mutant::ColumnsByName)),
    ("S1", Rule::Server(ServerMutant::NamesAsTheyAre)),
    ("S2", Rule::Engine(Mutant::RestForWhole)),
    ("S3", Rule::Engine(Mutant::LocalBackfill)),
    ("S4", Rule::Engine(Mutant::OtherSchemaApplied)),
    ("C2", Rule::Server(ServerMutant::NumbersAgain)),
    ("C3", Rule::Server(ServerMutant::WatermarkIgnored)),
    ("C4", Rule::Server(ServerMutant::BucketsUnwalked)),
];
