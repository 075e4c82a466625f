//! Streams in the TOML file.

use super::super::StreamConfig;
use super::super::reader::{ConfigReader, TableMembers};
use super::action::read_parameter;

/// Reads a stream; `None` if it has no name.
pub(super) fn read(
    reader: &mut ConfigReader<'_>,
    mut members: TableMembers,
) -> Option<StreamConfig> {
    let Some(name) = reader.text(&mut members, "name") else {
        reader.problem(&format!("{}.name", members.place), "missing: name the stream");
        return None;
    };
    let mut members = reader.rename(members, format!("streams.{name}"));
    let mut stream = StreamConfig::new(name, "", "");
    for (key, text) in [("bucket", &mut stream.bucket), ("allow", &mut stream.allow)] {
        match reader.text(&mut members, key) {
            Some(found) => *text = found,
            None => reader.problem(&format!("{}.{key}", members.place), "missing"),
        }
    }
    for parameter in reader.tables(&mut members, "parameters") {
        stream.parameters.extend(read_parameter(reader, parameter));
    }
    reader.leftover(&members);
    Some(stream)
}
