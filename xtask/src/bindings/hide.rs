//! Post-processes the generated Kotlin: hides it from apps, fixes a leak, frees memory early, and calls
//! the app's code on threads that the app does not occupy.
//!
//! UniFFI makes all declarations public. Here all top-level declarations become `internal`: apps
//! see only `dev.rejoin`, and the package can require explicit visibility and no warnings in its
//! own code. Names in the compiled classes do not change, since only internal members of a class
//! are renamed.
//!
//! The leak: a coroutine cancelled after its result is ready, but before it is fetched, would keep
//! the result in the engine forever, for example a row buffer or a transaction that holds the
//! writer. The patch fetches the result.
//!
//! The memory: each structure that crosses has native memory, which JNA frees by the garbage
//! collector. In a burst of calls, keeping account of it takes longer than the calls. The patches
//! free it after the call, and use the structure for the outcome of a call again.
//!
//! The threads: the app may block all of `Dispatchers.Default` while it waits for the engine, which waits
//! for the app's token provider or transport.

use regex::Regex;

/// A top-level declaration; one of a function that throws is indented after its annotation, and one
/// without errors follows its comment.
const DECLARATION: &str = "(?m)^(?:(\\s*@Throws\\(.*::class\\) |\\s*\\*/ )(fun )|(?:public )?\
    ((?:(?:data|sealed|open|abstract|inline|suspend) )*\
    (?:class|interface|object|fun|val|var|typealias|enum)[ <]))";

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

/// How the generated code calls the app's suspending functions.
const LAUNCHES: &str = "    val job = GlobalScope.launch coroutineBlock@ {\n";
/// The replacement.
const LAUNCHES_AWAY: &str = "    val job = GlobalScope.launch(dev.rejoin.away) coroutineBlock@ {\n";

/// What frees the memory of structures, by what the generator writes in its place.
const FREES: [(&str, &str); 5] = [
    (
        "\
    var status = UniffiRustCallStatus()
    val return_value = callback(status)
    uniffiCheckCallStatus(errorHandler, status)
    return return_value
",
        "\
    val calls = UniffiCalls.ofThread()
    return calls.arguments {
        val status = calls.status()
        val return_value = callback(status)
        uniffiCheckCallStatus(errorHandler, status)
        calls.reuse(status)
        return_value
    }
",
    ),
    ("// Call a rust function that returns a Result<>.  Pass in", CALLS),
    (
        "            return block(this.uniffiCloneHandle())\n",
        "            return UniffiCalls.ofThread().arguments { block(this.uniffiCloneHandle()) }\n",
    ),
    (
        "rustbuffer_free(buf, status)\n        }\n",
        "rustbuffer_free(buf, status)\n        }.also { buf.uniffiClose() }\n",
    ),
    (
        "null data pointer (size=${size})\")\n           }\n",
        "null data pointer (size=${size})\")\n           }\n            UniffiCalls.ofThread().argument(it)\n",
    ),
];
/// The account of a thread, before the function that calls Rust.
const CALLS: &str = concat!(
    include_str!("calls.kt"),
    "\n// Call a rust function that returns a Result<>.  Pass in"
);

/// The code to commit; `None` if the generator no longer produces the code to patch.
pub(super) fn patched(kotlin: &str) -> Option<String> {
    let mut text = hidden(kotlin)?;
    for (before, after) in FREES.into_iter().chain([(LAUNCHES, LAUNCHES_AWAY)]) {
        if !text.contains(before) {
            return None;
        }
        text = text.replace(before, after);
    }
    let patched = text.replacen(ENDS, &format!("{FETCHES}{ENDS}"), 1);
    (patched != text).then_some(patched)
}

/// The same code with internal visibility and without warnings.
fn hidden(kotlin: &str) -> Option<String> {
    let declaration = Regex::new(DECLARATION).ok()?;
    let text = declaration.replace_all(kotlin, "${1}internal $2$3");
    Some(text.replace("@file:Suppress(\"NAME_SHADOWING\")", "@file:Suppress(\"warnings\")"))
}

#[cfg(test)]
mod tests {
    use super::{ENDS, FREES, LAUNCHES, hidden, patched};

    #[test]
    fn each_part_is_patched_or_the_patch_fails() {
        let code = format!("{}{LAUNCHES}{ENDS}", FREES.map(|(before, _)| before).concat());
        let patched_code = patched(&code).unwrap();
        assert!(patched_code.ends_with(&format!("throw cancelled\n{ENDS}")));
        assert_eq!(patched_code.matches(".uniffiClose()").count(), 3);
        assert!(patched_code.contains("launch(dev.rejoin.away)"));
        for before in FREES.map(|(before, _)| before).into_iter().chain([LAUNCHES, ENDS]) {
            assert!(patched(&code.replace(before, "")).is_none(), "{before}");
        }
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
            ("         */ fun `g`()", "         */ internal fun `g`()"),
            ("    fun inside() {", "    fun inside() {"),
            ("external fun native(", "external fun native("),
            ("private fun own() {", "private fun own() {"),
            ("internal const val N = 1", "internal const val N = 1"),
            ("import a.b", "import a.b"),
            ("@file:Suppress(\"NAME_SHADOWING\")", "@file:Suppress(\"warnings\")"),
            ("// class of its own", "// class of its own"),
        ] {
            assert_eq!(hidden(before).unwrap(), after);
        }
    }
}
