//! Small rows for the tests of this room: one column `buckets` says where a row lies, another holds a text.

use uuid::Uuid;

use super::ids::{AuthorId, Buckets, EntryId};
use super::row::{Image, Placement, RowName};

/// Rows lie where their column `buckets` says: names with spaces between them.
#[derive(Debug)]
pub(crate) struct Column;

impl Placement for Column {
    fn buckets(&self, _: &RowName, image: &Image) -> Buckets {
        let text = image.get("buckets").and_then(|value| value.as_text()).unwrap_or_default();
        text.split_whitespace().collect()
    }
}

pub(crate) fn row(id: &str) -> RowName {
    RowName::new("note", id)
}

pub(crate) fn image(buckets: &str, text: &str) -> Image {
    Image::from([("buckets", buckets), ("text", text)])
}

pub(crate) fn buckets(names: &str) -> Buckets {
    names.split_whitespace().collect()
}

pub(crate) fn author(number: u128) -> AuthorId {
    AuthorId(Uuid::from_u128(number))
}

pub(crate) fn entry(number: u128) -> EntryId {
    EntryId(Uuid::from_u128(number))
}
