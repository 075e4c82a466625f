/*
 * The files that the tests read: the built archive, the jars of the other modules and the libraries. The pom passes their
 * paths as system properties. A missing file is an error that names the Maven command to build it.
 */
package dev.rejoin.checks

import java.nio.file.Files
import java.nio.file.Path
import java.util.zip.ZipFile
import kotlin.io.path.createTempDirectory
import kotlin.io.path.exists
import kotlin.io.path.writeBytes

object Build {
    /** The folder of this module. */
    val module: Path = Path.of(property("rejoin.module"))

    /** A temporary folder, deleted when the JVM ends. */
    val scratch: Path = createTempDirectory("android-checks").also { folder ->
        Runtime.getRuntime().addShutdownHook(Thread { folder.toFile().deleteRecursively() })
    }

    /** The Android archive. */
    val archive: Path = built(Path.of(property("rejoin.aar")))

    /** Whether the archive must contain native code. */
    val isNative: Boolean = !archive.fileName.toString().endsWith("-no-native.aar")

    val entries: Map<String, ByteArray> by lazy { unzip(archive) }

    /** The archive's classes. */
    val archiveClasses: Path by lazy { extract("classes.jar") }

    /** The archive's rules for R8. */
    val rules: String by lazy { entry("proguard.txt").decodeToString() }

    val rejoin: Path by lazy { built(module.resolve("../rejoin/target/rejoin-${property("rejoin.version")}.jar")) }
    val compose: Path by lazy { built(module.resolve("../rejoin-compose/target/rejoin-compose-${property("rejoin.version")}.jar")) }

    /** Classes of Android 14 without Java's. */
    val android: Path by lazy { path("android") }

    /** AndroidX, as the archive is compiled with it. */
    val androidxJars: List<Path> by lazy { listOf("androidx", "lifecycle", "annotation", "future").map(::path) }

    val jna: Path by lazy { path("jna") }

    /** The libraries from Kotlin that `rejoin` needs. */
    val libraries: List<Path> by lazy { listOf("stdlib", "annotations", "coroutines", "serialization", "json").map(::path) }

    /** The classes of the sample app. */
    val sample: Path by lazy { path("sample") }

    fun entry(name: String): ByteArray = entries[name] ?: error("$archive has no $name")

    fun extract(name: String): Path = scratch.resolve(name).also { it.writeBytes(entry(name)) }

    fun path(name: String): Path = built(Path.of(property("path.$name")))

    fun unzip(file: Path): Map<String, ByteArray> =
        ZipFile(file.toFile()).use { zip ->
            zip.entries().asSequence().filterNot { it.isDirectory }.associate { it.name to zip.getInputStream(it).readBytes() }
        }

    /** All class files of a jar or a folder. */
    fun classes(file: Path): List<ByteArray> =
        if (Files.isDirectory(file)) {
            Files.walk(file).use { all -> all.filter { it.toString().endsWith(".class") }.map(Files::readAllBytes).toList() }
        } else {
            unzip(file).filterKeys { it.endsWith(".class") }.values.toList()
        }

    fun property(name: String): String = System.getProperty(name)?.takeIf { it.isNotEmpty() } ?: error("$name is not set; run the tests with Maven")

    private fun built(file: Path): Path {
        check(file.exists()) { "$file does not exist; build it with: mvn -f kotlin/pom.xml package" }
        return file.normalize()
    }
}
