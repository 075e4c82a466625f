//! The claims of the referee: each is made once, and each can be broken on purpose.

use anyhow::Result;
use std::process::ExitCode;

/// What was claimed so far.
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

    /// Whether this claim is to be broken: whoever prepares it then does the wrong thing.
    pub(crate) fn is_sabotaged(&self, claim: u32) -> bool {
        self.sabotage == Some(claim)
    }

    /// Makes claim `number`, which holds unless `shown` says why not.
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

    /// Success if something was claimed and all of it held.
    pub(crate) fn close(&self) -> ExitCode {
        println!("{} claims, {} broken", self.made, self.broken);
        let well = self.made > 0 && self.broken == 0;
        if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
