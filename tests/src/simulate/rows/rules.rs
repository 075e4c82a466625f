//! Every rule of the row model, broken: which switch breaks it. Each must be noticed by a world.

use rejoin_core::mutant::Mutant;
use rejoin_server::mutant::Mutant as ServerMutant;

use super::super::Rule;

/// The rule and what breaks it, in the order of the rules.
pub(super) const BROKEN: &[(&str, Rule)] = &[
    ("R1", Rule::Engine(Mutant::EffectRenewed)),
    ("R3", Rule::Engine(Mutant::NoClosureByRows)),
    ("R5", Rule::Engine(Mutant::GuardLeftOpen)),
    ("R8", Rule::Engine(Mutant::FailedLaidDown)),
    ("O1", Rule::Engine(Mutant::NewValueExcuses)),
    ("O2", Rule::Server(ServerMutant::VerdictForgotten)),
    ("O3", Rule::Server(ServerMutant::ImagesFromBefore)),
    ("O4", Rule::Server(ServerMutant::AfterIgnored)),
    ("O4", Rule::Engine(Mutant::ReadsUntied)),
    ("O5", Rule::Engine(Mutant::SentAfterSend)),
    ("O5", Rule::Engine(Mutant::AnswerByPieces)),
    ("O6", Rule::Engine(Mutant::UncertainJudged)),
    ("O10", Rule::Engine(Mutant::ConflictSentAgain)),
    ("O14", Rule::Server(ServerMutant::OtherLifeUnnoticed)),
    ("O15", Rule::Engine(Mutant::CloneRenamed)),
    ("C2", Rule::Server(ServerMutant::NumbersAgain)),
    ("C3", Rule::Server(ServerMutant::WatermarkIgnored)),
    ("C4", Rule::Server(ServerMutant::BucketsUnwalked)),
];
