//! What to exchange with the server, and when.

pub mod backoff;
pub mod doctor;
pub mod driver;
pub(crate) mod plain;
pub(crate) mod request;
pub mod rows;
pub mod session;
pub mod status;
pub(crate) mod subject;
pub mod token;
