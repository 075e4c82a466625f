//! Stories of policy.
