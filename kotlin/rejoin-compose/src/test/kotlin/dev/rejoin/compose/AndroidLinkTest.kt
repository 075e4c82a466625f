/*
 * The classes are compiled against the desktop artifacts of Compose. On Android the same names come from other artifacts:
 * each class, method and field that the package refers to must be in them, with the same signature.
 */
package dev.rejoin.compose

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.objectweb.asm.ClassReader
import org.objectweb.asm.ClassVisitor
import org.objectweb.asm.FieldVisitor
import org.objectweb.asm.MethodVisitor
import org.objectweb.asm.Opcodes
import java.io.File
import java.util.zip.ZipFile
import java.util.zip.ZipInputStream

class AndroidLinkTest {
    /** A class: its parents, and its members as name and descriptor. */
    private class Declared(val parents: List<String>, val members: Set<String>)

    /** A reference to a class, or to a member with its name and descriptor. */
    private data class Reference(val owner: String, val member: String?)

    private fun declared(reader: ClassReader): Declared {
        val members = HashSet<String>()
        val visitor =
            object : ClassVisitor(Opcodes.ASM9) {
                override fun visitMethod(access: Int, name: String, descriptor: String, signature: String?, thrown: Array<String>?): MethodVisitor? {
                    if (access and Opcodes.ACC_PRIVATE == 0) members += name + descriptor
                    return null
                }

                override fun visitField(access: Int, name: String, descriptor: String, signature: String?, value: Any?): FieldVisitor? {
                    if (access and Opcodes.ACC_PRIVATE == 0) members += name + descriptor
                    return null
                }
            }
        reader.accept(visitor, ClassReader.SKIP_CODE or ClassReader.SKIP_DEBUG)
        return Declared(listOfNotNull(reader.superName) + reader.interfaces, members)
    }

    /** All references in a constant pool. */
    private fun references(reader: ClassReader): List<Reference> {
        val buffer = CharArray(reader.maxStringLength)
        return (1 until reader.itemCount).mapNotNull { number ->
            val at = reader.getItem(number)
            if (at == 0) return@mapNotNull null
            when (reader.readByte(at - 1)) {
                CLASS -> Reference(reader.readUTF8(at, buffer), null)
                FIELD, METHOD, INTERFACE_METHOD -> {
                    val name = reader.getItem(reader.readUnsignedShort(at + 2))
                    Reference(reader.readClass(at, buffer), reader.readUTF8(name, buffer) + reader.readUTF8(name + 2, buffer))
                }
                else -> null
            }
        }
    }

    /** The classes of a library: in `classes.jar` of an AAR, or in the jar itself. */
    private fun classes(library: File): List<ClassReader> =
        ZipFile(library).use { zip ->
            val nested = zip.getEntry("classes.jar")?.let(zip::getInputStream) ?: library.inputStream()
            ZipInputStream(nested).use { jar ->
                generateSequence { jar.nextEntry }.filter { it.name.startsWith("androidx/") && it.name.endsWith(".class") }
                    .map { ClassReader(jar.readBytes()) }.toList()
            }
        }

    @Test
    fun `references are in the artifacts for Android`() {
        val libraries = File("target/android").listFiles().orEmpty()
        val android = libraries.flatMap(::classes).associate { it.className to declared(it) }
        assertTrue(android.size > 5_000, "${libraries.size} libraries with ${android.size} classes")

        fun has(owner: String, member: String): Boolean {
            val found = android[owner] ?: return false
            return member in found.members || found.parents.any { has(it, member) }
        }
        val own = File("target/classes").walk().filter { it.extension == "class" }.map { ClassReader(it.readBytes()) }.toList()
        val references = own.flatMap(::references).filter { it.owner.startsWith("androidx/") }.toSet()
        val missing = references.filterNot { (owner, member) -> if (member == null) owner in android else has(owner, member) }
        assertEquals(emptyList<Reference>(), missing)
        assertTrue(references.size > 200, "${references.size} references")
    }

    private companion object {
        const val CLASS = 7
        const val FIELD = 9
        const val METHOD = 10
        const val INTERFACE_METHOD = 11
    }
}
