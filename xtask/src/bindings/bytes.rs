//! Post-processes the generated Swift: bytes are `[UInt8]` instead of `Data`, and are copied once.
//!
//! UniFFI reads bytes into an array that it fills with zeros first, and copies that into `Data`; the
//! package needs an array again. For the rows of a large result, that is most of the time.

/// How the generated code reads bytes.
const READS: &str = "\
    var value = [UInt8](repeating: 0, count: count)
    value.withUnsafeMutableBufferPointer({ buffer in
        reader.data.copyBytes(to: buffer, from: range)
    })
    reader.offset = range.upperBound
    return value
";
/// The replacement.
const READS_ONCE: &str = "\
    reader.offset = range.upperBound
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        filled = reader.data.copyBytes(to: buffer, from: range)
    }
";

/// The code to commit; `None` if the generator no longer produces the code to patch.
pub(super) fn patched(swift: &str) -> Option<String> {
    swift.contains(READS).then(|| arrays(&swift.replace(READS, READS_ONCE)))
}

/// The same code with arrays as the type of bytes, except where the code reads from `Data`.
fn arrays(swift: &str) -> String {
    let mut text = String::with_capacity(swift.len());
    let mut rest = swift;
    while let Some(at) = rest.find("Data") {
        let (before, after) = (&rest[..at], &rest[at + "Data".len()..]);
        text.push_str(before);
        let is_name = |next: Option<char>| next.is_some_and(|it| it.is_alphanumeric() || it == '_');
        let is_word = !is_name(before.chars().next_back()) && !is_name(after.chars().next());
        let reads = before.ends_with("data: ") || before.ends_with("extension ");
        let builds = after.starts_with(".Index") || after.starts_with("(rustBuffer");
        text.push_str(if is_word && !reads && !builds { "[UInt8]" } else { "Data" });
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::{READS, READS_ONCE, patched};

    #[test]
    fn bytes_are_arrays_read_once_or_the_patch_fails() {
        let kept = "fileprivate extension Data {\nread(from buf: inout (data: Data, offset: Data.Index))\n\
                    FfiConverterData, DataX, Data(rustBuffer: buf)\n";
        let before =
            format!("{kept}{READS}f() -> Data {{ [Data] }} var body: Data?\nreturn Data(a)");
        let after = format!(
            "{kept}{READS_ONCE}f() -> [UInt8] {{ [[UInt8]] }} var body: [UInt8]?\nreturn [UInt8](a)"
        );
        assert_eq!(patched(&before).as_deref(), Some(after.as_str()));
        assert_eq!(patched(kept), None);
    }
}
