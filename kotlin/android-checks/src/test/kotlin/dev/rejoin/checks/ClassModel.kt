/*
 * What the tests read of class files: methods, and the types in public signatures.
 */
package dev.rejoin.checks

import org.objectweb.asm.ClassReader
import org.objectweb.asm.ClassVisitor
import org.objectweb.asm.FieldVisitor
import org.objectweb.asm.MethodVisitor
import org.objectweb.asm.Opcodes
import org.objectweb.asm.Type
import org.objectweb.asm.signature.SignatureReader
import org.objectweb.asm.signature.SignatureVisitor
import java.io.OutputStream
import java.nio.file.Files
import java.nio.file.Path
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream

/** A class; [types] are those of its public and protected declarations, by the declaration that names each. */
class ClassModel private constructor(val name: String, val isPublic: Boolean, val methods: List<String>, val types: Map<String, Set<String>>) {
    companion object {
        fun of(bytes: ByteArray): ClassModel {
            val reader = ClassReader(bytes)
            val visitor = Declarations()
            reader.accept(visitor, ClassReader.SKIP_CODE or ClassReader.SKIP_FRAMES)
            return ClassModel(reader.className, visitor.isPublic, visitor.methods, visitor.types)
        }
    }
}

private const val VISIBLE = Opcodes.ACC_PUBLIC or Opcodes.ACC_PROTECTED

private class Declarations : ClassVisitor(Opcodes.ASM9) {
    var isPublic = false
    val methods = mutableListOf<String>()
    val types = mutableMapOf<String, MutableSet<String>>()

    override fun visit(version: Int, access: Int, name: String, signature: String?, superName: String?, interfaces: Array<String>?) {
        isPublic = access and VISIBLE != 0
        record(name, listOfNotNull(superName) + interfaces.orEmpty(), signature)
    }

    override fun visitField(access: Int, name: String, descriptor: String, signature: String?, value: Any?): FieldVisitor? {
        if (access and VISIBLE != 0) record(name, named(Type.getType(descriptor)), signature)
        return null
    }

    override fun visitMethod(access: Int, name: String, descriptor: String, signature: String?, exceptions: Array<String>?): MethodVisitor? {
        methods += "$name$descriptor"
        val type = Type.getMethodType(descriptor)
        val erased = type.argumentTypes.flatMap(::named) + named(type.returnType) + exceptions.orEmpty()
        if (access and VISIBLE != 0) record("$name$descriptor", erased, signature)
        return null
    }

    private fun record(declaration: String, erased: List<String>, signature: String?) {
        val all = types.getOrPut(declaration) { mutableSetOf() }
        all += erased
        signature?.let { SignatureReader(it).accept(TypeNames(all)) }
    }

    private fun named(type: Type): List<String> =
        when (type.sort) {
            Type.ARRAY -> named(type.elementType)
            Type.OBJECT -> listOf(type.internalName)
            else -> emptyList()
        }
}

private class TypeNames(private val names: MutableSet<String>) : SignatureVisitor(Opcodes.ASM9) {
    private var outer = ""

    override fun visitClassType(name: String) {
        outer = name
        names += name
    }

    override fun visitInnerClassType(name: String) {
        outer = "$outer$$name"
        names += outer
    }

    override fun visitTypeArgument(wildcard: Char): SignatureVisitor = TypeNames(names)
}

/** Writes a jar. */
object Jar {
    fun write(file: Path, entries: Map<String, ByteArray>) {
        val output: OutputStream = Files.newOutputStream(file)
        ZipOutputStream(output).use { zip ->
            for ((name, bytes) in entries) {
                zip.putNextEntry(ZipEntry(name))
                zip.write(bytes)
            }
        }
    }
}
