/*
 * Reads the version of Kotlin's metadata from a class file.
 */
package dev.rejoin.checks

import org.objectweb.asm.AnnotationVisitor
import org.objectweb.asm.ClassReader
import org.objectweb.asm.ClassVisitor
import org.objectweb.asm.Opcodes

/** The version of the metadata, as `[2, 2, 0]`; null for a class without metadata. */
fun metadataVersion(bytes: ByteArray): List<Int>? {
    var version: List<Int>? = null
    val annotation =
        object : AnnotationVisitor(Opcodes.ASM9) {
            override fun visit(name: String, value: Any?) {
                if (name == "mv") version = (value as IntArray).toList()
            }
        }
    val visitor =
        object : ClassVisitor(Opcodes.ASM9) {
            override fun visitAnnotation(descriptor: String, visible: Boolean): AnnotationVisitor? =
                annotation.takeIf { descriptor == "Lkotlin/Metadata;" }
        }
    ClassReader(bytes).accept(visitor, ClassReader.SKIP_CODE)
    return version
}
