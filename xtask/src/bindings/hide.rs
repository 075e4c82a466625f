//! Generated Kotlin that apps cannot see, and that loses nothing.
//!
//! UniFFI writes everything public, and asks for no visibility that the hand-written package could set. Here whatever stands at
//! the top level becomes `internal`: apps see `dev.rejoin` alone, and the package may demand explicit visibility and no warnings
//! of its own code. Names in the compiled classes stay as they are, since only members of a class are renamed when internal.
//!
//! One thing is mended. A coroutine that is cancelled when its answer is ready, and before it has fetched it, would leave the
//! answer in the engine for good: a buffer of rows, or a transaction that holds the writer. It fetches it all the same.

/// Words that may stand before the word that says what is declared.
const MODIFIERS: [&str; 7] = ["public", "data", "sealed", "open", "abstract", "inline", "suspend"];
/// Words that say what is declared.
const KINDS: [&str; 8] = ["class", "interface", "object", "fun", "val", "var", "typealias", "enum"];

/// How waiting for an answer ends in the generated code.
const ENDS: &str = "    } finally {\n        freeFunc(rustFuture)\n    }\n";
/// How it should.
const FETCHES: &str = "\
    } catch (cancelled: kotlin.coroutines.cancellation.CancellationException) {
        // A result that is ready and was not fetched would be lost with its future.
        runCatching {
            liftFunc(uniffiRustCallWithError(errorHandler, { status -> completeFunc(rustFuture, status) }))
        }.onSuccess { (it as? Disposable)?.destroy() }
        throw cancelled
";

/// What is committed; nothing if the generator does not write any more what is mended here.
pub(super) fn mended(kotlin: &str) -> Option<String> {
    let text = hidden(kotlin);
    let mended = text.replacen(ENDS, &format!("{FETCHES}{ENDS}"), 1);
    (mended != text).then_some(mended)
}

/// The same code, seen by its own module only, and without warnings.
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
    use super::{hidden, mended};

    #[test]
    fn an_answer_that_nobody_fetched_is_fetched_or_the_generator_is_another() {
        let waits = "    try {\n    } finally {\n        freeFunc(rustFuture)\n    }\n";
        let mended_once = mended(waits).unwrap();
        assert!(mended_once.contains("(it as? Disposable)?.destroy()"));
        assert!(
            mended_once.ends_with(
                "throw cancelled\n    } finally {\n        freeFunc(rustFuture)\n    }\n"
            )
        );
        assert!(mended("    try {\n    } finally {\n        free(rustFuture)\n    }\n").is_none());
    }

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
