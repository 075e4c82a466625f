/*
 * Java's and Android's classes as an app's build has them: Java's from this JDK, but only in packages that Android has.
 *
 * Android's classes are those with a public API in Android 7 (API 24), from the signature file.
 */
package dev.rejoin.checks

import com.android.tools.r8.ArchiveClassFileProvider
import com.android.tools.r8.ClassFileResourceProvider
import com.android.tools.r8.ProgramResource
import com.android.tools.r8.origin.Origin
import org.codehaus.mojo.animal_sniffer.Clazz
import java.io.ObjectInputStream
import java.net.URI
import java.nio.file.FileSystems
import java.nio.file.Files
import java.nio.file.Path
import java.util.zip.GZIPInputStream
import kotlin.io.path.inputStream
import kotlin.io.path.name

object Platform {
    /** The classes of API 24 and of its desugared libraries, as `java/lang/Object`. */
    val api24: Set<String> by lazy {
        ObjectInputStream(GZIPInputStream(Build.path("signature").inputStream())).use { input ->
            generateSequence { input.readObject() as Clazz? }.map { it.name }.toSet()
        }
    }

    /** Packages of Java that newer versions of Android have. */
    private val newer =
        listOf("invoke").map { "java/lang/$it" } + listOf("file", "file/attribute").map { "java/nio/$it" } +
            listOf("", "/chrono", "/format", "/temporal", "/zone").map { "java/time$it" }

    fun android(): ClassFileResourceProvider =
        ArchiveClassFileProvider(Build.android) { name -> name.startsWith("android/") && name.removeSuffix(".class") in api24 }

    /** All of Android 14, also what is hidden. */
    fun allOfAndroid(): ClassFileResourceProvider = ArchiveClassFileProvider(Build.android) { it.startsWith("android/") }

    fun java(): ClassFileResourceProvider {
        val packages = api24.filter { it.startsWith("java") }.mapTo(mutableSetOf()) { it.substringBeforeLast('/') } + newer
        return JdkPackages(packages)
    }
}

/** The classes of this JDK in some packages. */
private class JdkPackages(packages: Set<String>) : ClassFileResourceProvider {
    private val files: Map<String, Path> = packages.flatMap(::list).toMap()

    override fun getClassDescriptors(): Set<String> = files.keys

    override fun getProgramResource(descriptor: String): ProgramResource? =
        files[descriptor]?.let { file ->
            ProgramResource.fromBytes(Origin.unknown(), ProgramResource.Kind.CF, Files.readAllBytes(file), setOf(descriptor))
        }

    private fun list(name: String): List<Pair<String, Path>> {
        val jdk = FileSystems.getFileSystem(URI.create("jrt:/"))
        val modules = jdk.getPath("/packages", name.replace('/', '.'))
        if (!Files.exists(modules)) return emptyList()
        return Files.list(modules).use { it.toList() }.flatMap { module ->
            val folder = jdk.getPath("/modules", module.name, name)
            if (!Files.isDirectory(folder)) return@flatMap emptyList()
            Files.list(folder).use { it.toList() }.filter { it.name.endsWith(".class") }.map { "L$name/${it.name.removeSuffix(".class")};" to it }
        }
    }
}
