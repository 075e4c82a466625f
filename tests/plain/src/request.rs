//! Requests, decoded like Go does: unknown members are ignored, missing or null members are zero
//! values, and one member of a wrong type rejects the whole request.

use serde_json::{Map, Value};

use crate::time;

/// The body is not a valid request: `invalid request body`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid;

/// An object of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Members<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Members<'a> {
    fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(self, name: &str) -> Result<String, Invalid> {
        self.get(name).map_or(Ok(String::new()), |value| match value {
            Value::String(text) => Ok(text.clone()),
            _ => Err(Invalid),
        })
    }

    pub(crate) fn optional_text(self, name: &str) -> Result<Option<String>, Invalid> {
        self.get(name).map(|_| self.text(name)).transpose()
    }

    pub(crate) fn integer(self, name: &str) -> Result<i64, Invalid> {
        self.get(name).map_or(Ok(0), |value| value.as_i64().ok_or(Invalid))
    }

    pub(crate) fn texts(self, name: &str) -> Result<Vec<String>, Invalid> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or(Invalid)?;
        items.iter().map(|item| item.as_str().map(str::to_owned).ok_or(Invalid)).collect()
    }

    pub(crate) fn object(self, name: &str) -> Result<Option<Self>, Invalid> {
        self.get(name).map(|value| value.as_object().map(Self).ok_or(Invalid)).transpose()
    }

    /// A timestamp in nanoseconds since 1970.
    fn instant(self, name: &str) -> Result<Option<i128>, Invalid> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        time::from_rfc3339(&text).map(Some).ok_or(Invalid)
    }

    /// The records of a push.
    pub(crate) fn changes(self) -> Result<Vec<Change>, Invalid> {
        let Some(value) = self.get("changes") else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or(Invalid)?;
        items.iter().map(|item| Change::read(Members(item.as_object().ok_or(Invalid)?))).collect()
    }
}

/// The `data` of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    /// Missing, or not an object.
    Invalid,
    /// `null`: a Go map that cannot be written to.
    Null,
    /// Values by column.
    Values(Map<String, Value>),
}

/// A record of a push.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) id: String,
    pub(crate) table: String,
    pub(crate) operation: String,
    pub(crate) data: Data,
    pub(crate) client_time: i128,
    pub(crate) base: Option<i128>,
}

impl Change {
    fn read(members: Members<'_>) -> Result<Self, Invalid> {
        /// The year 1, Go's zero time.
        const ZERO: i128 = -62_135_596_800_000_000_000;
        let data = match members.0.get("data") {
            Some(Value::Null) => Data::Null,
            Some(Value::Object(values)) => Data::Values(values.clone()),
            _ => Data::Invalid,
        };
        Ok(Self {
            id: members.text("id")?,
            table: members.text("table_name")?,
            operation: members.text("operation")?,
            data,
            client_time: members.instant("client_updated_at")?.unwrap_or(ZERO),
            base: members.instant("base_updated_at")?,
        })
    }
}
