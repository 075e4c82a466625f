/*
 * The archive's classes, `rejoin` and JNA become DEX for Android 7 (API 24), without R8, as in a debug build.
 */
package dev.rejoin.checks

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.nio.file.Path

class DexTest {
    @Test
    fun `classes become DEX for API 24 without a warning`() {
        val reports = Reports()
        val dex = Shrinker.dex(listOf(Build.archiveClasses, Build.rejoin, jna()), 24, reports)
        println("D8: the archive, rejoin and JNA have ${dex / 1024} KiB of DEX")
        assertEquals(emptyList<String>(), reports.errors + reports.warnings)
        assertTrue(dex > 100_000, "$dex bytes")
    }

    /** The classes of JNA's archive for Android: the jar's files for other systems are not in it. */
    private fun jna(): Path {
        val classes = Build.scratch.resolve("jna-classes.jar")
        Jar.write(classes, Build.unzip(Build.jna).filterKeys { it.startsWith("com/sun/jna/") && it.endsWith(".class") })
        return classes
    }

    @Test
    fun `JNA's archive for Android has the classes of its jar and no rules`() {
        val archive = Build.unzip(Build.path("jna.aar"))
        val inner = Build.scratch.resolve("jna-aar.jar").also { java.nio.file.Files.write(it, archive.getValue("classes.jar")) }
        val names = { file: Path -> Build.classes(file).map { ClassModel.of(it).name }.filter { it.startsWith("com/sun/jna/") }.toSortedSet() }
        assertEquals(names(Build.jna), names(inner))
        // Rejoin's archive has them instead: remove its rules for JNA when JNA has rules.
        assertEquals(null, archive["proguard.txt"])
    }
}
