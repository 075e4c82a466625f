//! The numbered claims of the controller. Fault injection (`--sabotage`) can break each of them.

use anyhow::Result;
use std::process::ExitCode;

/// Claims evaluated so far.
#[derive(Debug)]
pub(crate) struct Claims {
    sabotage: Option<u32>,
    made: u32,
    broken: u32,
}

impl Claims {
    pub(crate) fn new(sabotage: Option<u32>) -> Self {
        Self { sabotage, made: 0, broken: 0 }
    }

    /// Whether faults are injected for this claim.
    pub(crate) fn is_sabotaged(&self, claim: u32) -> bool {
        self.sabotage == Some(claim)
    }

    /// Reports claim `number`: it holds unless `shown` is an error.
    pub(crate) fn make(&mut self, number: u32, claim: &str, shown: Result<()>) {
        self.made += 1;
        match shown {
            Ok(()) => println!("[ok] {number}. {claim}"),
            Err(why) => {
                self.broken += 1;
                println!("[BROKEN] {number}. {claim}: {why:#}");
            }
        }
    }

    /// Success if at least one claim was made and all of them hold.
    pub(crate) fn close(&self) -> ExitCode {
        println!("{} claims, {} broken", self.made, self.broken);
        let well = self.made > 0 && self.broken == 0;
        if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
