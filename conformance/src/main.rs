//! The command `rejoin-conformance`: the arguments, standard output, and the exit code.

use clap::Parser as _;
use rejoin_conformance::Options;

fn main() -> anyhow::Result<()> {
    rejoin_conformance::run(&Options::parse(), &mut std::io::stdout())
}
