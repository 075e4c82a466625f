//! Post-processes the generated Swift: bytes are `[UInt8]` instead of `Data`, and are copied once.
//!
//! UniFFI reads bytes into an array that it fills with zeros first, and copies that into `Data`; the
//! package needs an array again. For the rows of a large result, that is most of the time.

use regex::{Captures, Regex};

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

/// The type of bytes, with what is next to it where the code reads from `Data` or builds it.
const DATA: &str = r"(data: |extension )?\bData\b(\.Index|\(rustBuffer)?";

/// The code to commit; `None` if the generator no longer produces the code to patch.
pub(super) fn patched(swift: &str) -> Option<String> {
    let text = swift.contains(READS).then(|| swift.replace(READS, READS_ONCE))?;
    let array = |found: &Captures<'_>| match (found.get(1), found.get(2)) {
        (None, None) => "[UInt8]".to_owned(),
        _ => found[0].to_owned(),
    };
    Some(Regex::new(DATA).ok()?.replace_all(&text, array).into_owned())
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
