/*
 * An app that is built with Kotlin 2.2 can depend on the packages: its compiler reads their classes without a warning.
 *
 * The compiler runs in a JVM of its own. The Compose functions are on its class path; they need the plugin of Compose to be called.
 */
package dev.rejoin.checks

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.TimeUnit.SECONDS
import kotlin.io.path.name
import kotlin.io.path.writeText

class ConsumerTest {
    private val compiler = Build.path("compiler")
    private val sources = Build.module.resolve("src/main/kotlin/app/sample")
    private val compose = Files.createTempDirectory(Build.scratch, "compose").resolve("Compose.kt").also { it.writeText(COMPOSE) }

    @Test
    fun `sample app compiles with Kotlin 2_2 without a warning`() {
        val (status, printed) = compile(listOf(sources, compose), Build.archiveClasses)
        assertEquals("", printed)
        assertEquals(0, status)
    }

    @Test
    fun `app without the archive does not compile`() {
        val (status, printed) = compile(listOf(sources.resolve("SampleApp.kt")), Build.jna)
        assertNotEquals(0, status)
        assertTrue("unresolved reference 'AndroidDatabase'" in printed, printed)
    }

    @Test
    fun `classes have metadata of Kotlin 2_2`() {
        for (jar in listOf(Build.rejoin, Build.archiveClasses, Build.compose)) {
            val versions = Build.classes(jar).mapNotNull(::metadataVersion)
            assertTrue(versions.size > 5, "$jar: ${versions.size} classes")
            assertEquals(setOf(listOf(2, 2)), versions.map { it.take(2) }.toSet(), "${jar.name}")
        }
    }

    private fun compile(sources: List<Path>, archive: Path): Pair<Int, String> {
        val (plugins, own) = Files.list(compiler).use { it.toList() }.partition { it.name == "serialization-plugin.jar" }
        val classPath = listOf(Build.rejoin, Build.compose, archive, Build.android) + Build.androidxJars + Build.libraries
        val java = File(System.getProperty("java.home"), "bin/java").path
        val command =
            listOf(java, "-Xmx700m", "-XX:TieredStopAtLevel=1", "-cp", path(own + listOf(Build.path("annotations"))), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler") +
                listOf("-Werror", "-no-stdlib", "-no-reflect", "-jvm-target", "11", "-opt-in=kotlin.time.ExperimentalTime") +
                plugins.map { "-Xplugin=$it" } +
                listOf("-cp", path(classPath), "-d", "${Files.createTempDirectory(Build.scratch, "compiled")}") +
                sources.map { "$it" }
        val output = Files.createTempFile(Build.scratch, "compiler", ".txt").toFile()
        val process = ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output).start()
        if (!process.waitFor(120, SECONDS)) process.destroyForcibly().waitFor()
        return process.exitValue() to output.readText().trim()
    }

    private fun path(files: List<Path>) = files.joinToString(File.pathSeparator)

    private companion object {
        const val COMPOSE =
            """
            package app.sample

            import dev.rejoin.compose.ParkedTexts
            import dev.rejoin.compose.SyncTexts
            import dev.rejoin.compose.WatchState

            public fun failed(state: WatchState<*>): Boolean = state is WatchState.Failed

            public fun texts(sync: SyncTexts, parked: ParkedTexts): String = "${'$'}sync ${'$'}parked"
            """
    }
}
