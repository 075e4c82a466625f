//! Command-line entry point of `rejoin-conformance`.

use clap::Parser as _;
use rejoin_conformance::Options;

fn main() -> anyhow::Result<()> {
    rejoin_conformance::run(&Options::parse(), &mut std::io::stdout())
}
