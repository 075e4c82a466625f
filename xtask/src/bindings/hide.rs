//! Post-processes the generated Kotlin: hides it from apps and fixes a leak.
//!
//! UniFFI makes all declarations public. Here all top-level declarations become `internal`: apps
//! see only `dev.rejoin`, and the package can require explicit visibility and no warnings in its
//! own code. Names in the compiled classes do not change, since only internal members of a class
//! are renamed.
//!
//! The leak: a coroutine cancelled after its result is ready, but before it is fetched, would keep
//! the result in the engine forever, for example a row buffer or a transaction that holds the
//! writer. The patch fetches the result.

/// Modifiers that may precede the keyword of a declaration.
const MODIFIERS: [&str; 7] = ["public", "data", "sealed", "open", "abstract", "inline", "suspend"];
/// Keywords of declarations.
const KINDS: [&str; 8] = ["class", "interface", "object", "fun", "val", "var", "typealias", "enum"];

/// How the generated code ends the wait for a result.
const ENDS: &str = "    } finally {\n        freeFunc(rustFuture)\n    }\n";
/// The replacement.
const FETCHES: &str = "\
    } catch (cancelled: kotlin.coroutines.cancellation.CancellationException) {
        // A result that is ready and was not fetched would be lost with its future.
        runCatching {
            liftFunc(uniffiRustCallWithError(errorHandler, { status -> completeFunc(rustFuture, status) }))
        }.onSuccess { (it as? Disposable)?.destroy() }
        throw cancelled
";

/// The code to commit; `None` if the generator no longer produces the code to patch.
pub(super) fn patched(kotlin: &str) -> Option<String> {
    let text = hidden(kotlin);
    let patched = text.replacen(ENDS, &format!("{FETCHES}{ENDS}"), 1);
    (patched != text).then_some(patched)
}

/// The same code with internal visibility and without warnings.
fn hidden(kotlin: &str) -> String {
    let mut text = String::with_capacity(kotlin.len());
    for line in kotlin.lines() {
        text.push_str(&declared(line).unwrap_or_else(|| {
            line.replace("@file:Suppress(\"NAME_SHADOWING\")", "@file:Suppress(\"warnings\")")
        }));
        text.push('\n');
    }
    text
}

/// The line as an internal declaration, if it starts a top-level declaration.
fn declared(line: &str) -> Option<String> {
    // A top-level function that throws is indented, after its annotation.
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
    use super::{hidden, patched};

    #[test]
    fn unfetched_result_is_fetched_or_the_patch_fails() {
        let waits = "    try {\n    } finally {\n        freeFunc(rustFuture)\n    }\n";
        let patched_once = patched(waits).unwrap();
        assert!(patched_once.contains("(it as? Disposable)?.destroy()"));
        assert!(
            patched_once.ends_with(
                "throw cancelled\n    } finally {\n        freeFunc(rustFuture)\n    }\n"
            )
        );
        assert!(patched("    try {\n    } finally {\n        free(rustFuture)\n    }\n").is_none());
    }

    #[test]
    fn only_top_level_declarations_become_internal() {
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
