//! Generated Kotlin that apps cannot see.
//!
//! UniFFI writes everything public, and asks for no visibility that the hand-written package could set. Here whatever stands at
//! the top level becomes `internal`: apps see `dev.rejoin` alone, and the package may demand explicit visibility and no warnings
//! of its own code. Names in the compiled classes stay as they are, since only members of a class are renamed when internal.

/// Words that may stand before the word that says what is declared.
const MODIFIERS: [&str; 7] = ["public", "data", "sealed", "open", "abstract", "inline", "suspend"];
/// Words that say what is declared.
const KINDS: [&str; 8] = ["class", "interface", "object", "fun", "val", "var", "typealias", "enum"];

/// The same code, seen by its own module only, and without warnings.
pub(super) fn hidden(kotlin: &str) -> String {
    let mut text = String::with_capacity(kotlin.len());
    for line in kotlin.lines() {
        text.push_str(&declared(line).unwrap_or_else(|| {
            line.replace("@file:Suppress(\"NAME_SHADOWING\")", "@file:Suppress(\"warnings\")")
        }));
        text.push('\n');
    }
    text
}

/// The line as an internal declaration, if it begins one at the top level.
fn declared(line: &str) -> Option<String> {
    // A function of the top level that throws is the one thing written with an indent, behind its annotation.
    if let Some((throws, function)) = line.split_once("::class) fun ")
        && throws.trim_start().starts_with("@Throws(")
    {
        return Some(format!("{throws}::class) internal fun {function}"));
    }
    let mut words = line.split([' ', '<']).skip_while(|word| MODIFIERS.contains(word));
    let declares = words.next().is_some_and(|word| KINDS.contains(&word));
    declares.then(|| format!("internal {}", line.strip_prefix("public ").unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use super::hidden;

    #[test]
    fn what_stands_at_the_top_level_is_internal_and_nothing_else_is_touched() {
        for (before, after) in [
            ("open class RustBuffer {", "internal open class RustBuffer {"),
            ("public object FfiConverterLong: X {", "internal object FfiConverterLong: X {"),
            ("data class Change (", "internal data class Change ("),
            ("enum class Kind {", "internal enum class Kind {"),
            ("inline fun <T> T.use() {", "internal inline fun <T> T.use() {"),
            ("    @Throws(A::class) fun `f`()", "    @Throws(A::class) internal fun `f`()"),
            ("    fun inside() {", "    fun inside() {"),
            ("external fun native(", "external fun native("),
            ("private fun own() {", "private fun own() {"),
            ("internal const val N = 1", "internal const val N = 1"),
            ("import a.b", "import a.b"),
            ("@file:Suppress(\"NAME_SHADOWING\")", "@file:Suppress(\"warnings\")"),
            ("// class of its own", "// class of its own"),
        ] {
            assert_eq!(hidden(before), format!("{after}\n"));
        }
    }
}
