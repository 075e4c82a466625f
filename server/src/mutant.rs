//! Named mutants (D35): switches that break one rule of the server each, so that stories can prove that they would notice.
//!
//! Only under the feature `mutants` can a server be told to break one; elsewhere every rule holds.

/// The rules that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Each is named after its rule; what breaks is said where it is asked.
pub enum Mutant {
    ReadsUncompared,  // O8
    AbsentUncompared, // O8
    ChecksUnasked,    // O8
}

/// Whether this rule is the one that is broken.
pub(crate) fn on(broken: Option<Mutant>, mutant: Mutant) -> bool {
    cfg!(feature = "mutants") && broken == Some(mutant)
}
