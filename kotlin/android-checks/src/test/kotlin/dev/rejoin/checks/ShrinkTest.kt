/*
 * An app that is shrunk with the archive's rules only, in R8's full mode, works on the real engine with a real server.
 *
 * The shrunk program runs on the JVM. Code that needs a device is shrunk but not run, and AndroidX is not shrunk with it.
 */
package dev.rejoin.checks

import dev.rejoin.StoryServer
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.objectweb.asm.ClassReader
import java.io.File
import java.nio.file.Files
import java.nio.file.Path
import java.util.concurrent.TimeUnit.SECONDS
import kotlin.io.path.writeText

class ShrinkTest {
    @Test
    fun `shrunk app writes, performs, watches and syncs`() {
        assertEquals(emptyList<String>(), shrunk.reports.errors)
        StoryServer().use { server ->
            val (status, printed) = run(shrunk.jar, server)
            assertEquals(EXPECTED, printed)
            assertEquals(0, status)
            assertEquals(listOf(listOf("t1", "1", "0"), listOf("t2", "0", "5")), server.rows("SELECT id, done, rank FROM task ORDER BY id"))
        }
    }

    @Test
    fun `rules keep the names of the worker and of the native methods only`() {
        val all = (Build.classes(Build.archiveClasses) + Build.classes(Build.rejoin)).map { ClassReader(it).className.replace('/', '.') }.toSet()
        val kept = shrunk.names.filterKeys { it in all }
        val named = kept.filter { (old, new) -> old == new }.keys
        println("R8: ${all.size} classes of Rejoin, ${all.size - kept.size} removed or merged, ${kept.size - named.size} renamed, ${named.size} named")
        assertTrue("dev.rejoin.android.RejoinSyncWorker" in named, "$named")
        val free = named - setOf("dev.rejoin.android.RejoinSyncWorker", "dev.rejoin.ffi.UniffiLib", "dev.rejoin.ffi.IntegrityCheckingUniffiLib")
        assertEquals(emptySet<String>(), free)
        assertTrue(kept.size < all.size * 2 / 3, "${kept.size} of ${all.size} classes are kept")
    }

    @Test
    fun `worker keeps the constructor that WorkManager calls`() {
        val worker = Build.unzip(shrunk.jar).getValue("dev/rejoin/android/RejoinSyncWorker.class")
        val constructor = "<init>(Landroid/content/Context;Landroidx/work/WorkerParameters;)V"
        assertTrue(constructor in ClassModel.of(worker).methods, "${ClassModel.of(worker).methods}")
    }

    @Test
    fun `a missing class is an error unless the archive's rules name it`() {
        val strict = Build.rules.lines().filterNot { it.startsWith("-dontwarn") }.joinToString("\n")
        val missing = Shrinker.shrink("strict", strict, program = listOf(Build.jna)).reports.errors.flatMap { it.lines() }
        assertTrue(missing.isNotEmpty())
        assertEquals(emptyList<String>(), missing.filterNot { it.startsWith("Missing class java.awt.") })
    }

    /** Without optimisation, to save time: that JNA's names are gone is enough. */
    @Test
    fun `app without the archive's rules does not run`() {
        val broken = Shrinker.shrink("broken", "-dontwarn java.awt.**", "-dontoptimize")
        assertEquals(emptyList<String>(), broken.reports.errors)
        StoryServer().use { server ->
            val (status, printed) = run(broken.jar, server)
            assertNotEquals(0, status)
            assertTrue("com.sun.jna" in printed || "Error" in printed, printed)
        }
    }

    @Test
    fun `shrunk app becomes one DEX file`() {
        val reports = Reports()
        val program = Build.scratch.resolve("classes-only.jar").also { Jar.write(it, Build.unzip(shrunk.jar).filterKeys { name -> name.endsWith(".class") }) }
        val dex = Shrinker.dex(listOf(program), 24, reports)
        println("D8: the shrunk sample app has ${dex / 1024} KiB of DEX, ${Files.size(program) / 1024} KiB of classes")
        assertEquals(emptyList<String>(), reports.errors)
        assertTrue(dex in 1..LIMIT_BYTES, "$dex bytes")
    }

    private companion object {
        const val LIMIT_BYTES = 2_000_000L

        val EXPECTED =
            """
            [Task(id=t1, title=buy milk, done=false, rank=0), Task(id=t2, title=buy bread, done=false, rank=2)]
            raised to 5
            open: [buy bread]
            Constraint: task.id UNIQUE
            Action: REFUSED ten is the highest
            accepted 4, parked 0, pending 0
            Unauthorized, 1 pending
            logged true
            """.trimIndent()

        val shrunk: Shrunk by lazy { Shrinker.shrink("shrunk", Build.rules) }

        /** Runs the sample in [jar] and returns its exit status and its output. */
        fun run(jar: Path, server: StoryServer): Pair<Int, String> {
            val folder = Files.createTempDirectory(Build.scratch, "run")
            val schema = folder.resolve("schema.json").also { it.writeText(server.schema) }
            val java = File(System.getProperty("java.home"), "bin/java").path
            val crash = listOf("-XX:-CreateCoredumpOnCrash", "-XX:ErrorFile=$folder/crash.log")
            val options = crash + "-Djna.library.path=${System.getProperty("jna.library.path")}"
            val arguments = listOf("$folder/sample.db", server.url, server.token("u1"), "$schema")
            val output = folder.resolve("output").toFile()
            val command = listOf(java) + options + listOf("-cp", "$jar", "app.sample.SampleKt") + arguments
            val process = ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output).start()
            if (!process.waitFor(60, SECONDS)) process.destroyForcibly().waitFor()
            return process.exitValue() to output.readText().trim()
        }
    }
}
