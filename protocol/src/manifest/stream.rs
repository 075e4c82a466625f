//! The streams of a manifest, from which code is generated. Devices do not need them.

use serde::{Deserialize, Serialize};

/// A stream to which devices subscribe.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamManifest {
    /// Its name.
    pub name: String,
    /// Its parameters, in the server's order.
    pub parameters: Vec<StreamParameter>,
}

/// A parameter of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamParameter {
    /// Its name.
    pub name: String,
    /// `text` or `integer`.
    #[serde(rename = "type")]
    pub kind: String,
}
