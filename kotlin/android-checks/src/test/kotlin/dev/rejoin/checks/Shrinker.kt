/*
 * R8 in full mode over the sample app with all its libraries, and D8. The result is a jar for the JVM, so that it can run here.
 *
 * The rules are those of an app: what its manifest and its launcher need, what the libraries carry, and those given.
 */
package dev.rejoin.checks

import com.android.tools.r8.CompilationFailedException
import com.android.tools.r8.CompilationMode
import com.android.tools.r8.D8
import com.android.tools.r8.D8Command
import com.android.tools.r8.Diagnostic
import com.android.tools.r8.DiagnosticsHandler
import com.android.tools.r8.OutputMode
import com.android.tools.r8.R8
import com.android.tools.r8.R8Command
import com.android.tools.r8.origin.Origin
import java.nio.file.Files
import java.nio.file.Path
import kotlin.io.path.readLines

/** What a run of R8 or D8 reported. */
class Reports : DiagnosticsHandler {
    val errors = mutableListOf<String>()
    val warnings = mutableListOf<String>()

    override fun error(error: Diagnostic) {
        errors += error.diagnosticMessage
    }

    override fun warning(warning: Diagnostic) {
        warnings += warning.diagnosticMessage
    }
}

/** The shrunk program; [jar] is empty if there are errors. */
class Shrunk(val jar: Path, private val mapping: Path, val reports: Reports) {
    /** The classes that were kept, by their old names: their new names. */
    val names: Map<String, String> by lazy {
        mapping.readLines().filter { it.endsWith(":") && !it.startsWith(" ") && !it.startsWith("#") }
            .associate { line -> line.removeSuffix(":").split(" -> ").let { (old, new) -> old to new } }
    }
}

object Shrinker {
    /** What the tools of an app's build add, for its launcher and its manifest. Android's and Java's classes refer to hidden ones. */
    private val appRules =
        listOf(
            "-keep class app.sample.SampleKt { public static void main(java.lang.String[]); }",
            "-keep class app.sample.SampleApp { <init>(); }",
            "-dontwarn android.**",
            "-dontwarn androidx.**",
            "-dontwarn java.lang.constant.**",
            "-dontwarn jdk.internal.**",
            "-dontwarn sun.**",
        )

    /** The whole app. */
    private val app: List<Path> get() = listOf(Build.archiveClasses, Build.rejoin, Build.jna) + Build.libraries + sampleClasses()

    /** Runs R8 over [program] with [rules], and [more] options of a test. */
    fun shrink(name: String, rules: String, vararg more: String, program: List<Path> = app): Shrunk {
        val reports = Reports()
        val shrunk = Shrunk(Build.scratch.resolve("$name.jar"), Build.scratch.resolve("$name.map"), reports)
        val command =
            R8Command.builder(reports)
                .setMode(CompilationMode.RELEASE)
                .setProguardCompatibility(false)
                .setOutput(shrunk.jar, OutputMode.ClassFile)
                .setProguardMapOutputPath(Build.scratch.resolve("$name.map"))
                .addProgramFiles(program)
                .addLibraryResourceProvider(Platform.java())
                .addLibraryResourceProvider(Platform.android())
                .addLibraryFiles(Build.androidxJars)
                .addProguardConfiguration(appRules + more + libraryRules() + rules.lines(), Origin.unknown())
        try {
            R8.run(command.build())
        } catch (failed: CompilationFailedException) {
            check(reports.errors.isNotEmpty()) { failed.stackTraceToString() }
        }
        return shrunk
    }

    /** Runs D8 for [api] and returns the total size of the DEX files. */
    fun dex(programs: List<Path>, api: Int, reports: Reports): Long {
        val folder = Files.createTempDirectory(Build.scratch, "dex")
        val command =
            D8Command.builder(reports)
                .setMode(CompilationMode.RELEASE)
                .setMinApiLevel(api)
                .addProgramFiles(programs)
                .addClasspathFiles(Build.libraries)
                .addLibraryResourceProvider(Platform.java())
                .addLibraryResourceProvider(Platform.allOfAndroid())
                .addLibraryFiles(Build.androidxJars)
                .setOutput(folder, OutputMode.DexIndexed)
        D8.run(command.build())
        return Files.list(folder).use { files -> files.mapToLong(Files::size).sum() }
    }

    /** What R8 of this version reads from the libraries' jars. */
    private fun libraryRules(): List<String> =
        (Build.libraries + listOf(Build.jna, Build.rejoin)).flatMap { jar ->
            val entries = Build.unzip(jar)
            val current = entries.filterKeys { it.startsWith("META-INF/com.android.tools/r8/") }
            current.ifEmpty { entries.filterKeys { it.startsWith("META-INF/proguard/") } }.values.flatMap { it.decodeToString().lines() }
        }

    private fun sampleClasses(): List<Path> =
        Files.walk(Build.sample).use { files -> files.filter { it.toString().endsWith(".class") }.toList() }
}
