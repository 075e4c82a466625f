/*
 * The public API names no class of Java or Android that Android 7 (API 24) lacks.
 *
 * Calls inside of methods are checked by animal-sniffer in the modules themselves.
 */
package dev.rejoin.checks

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

class PublicTypesTest {
    @Test
    fun `public API of rejoin and of the archive has types of API 24 only`() {
        val classes = (Build.classes(Build.rejoin) + Build.classes(Build.archiveClasses)).map(ClassModel::of).filter { it.isPublic }
        assertTrue(classes.size > 100, "${classes.size} classes")
        assertTrue(classes.any { model -> model.types.values.any { "java/util/List" in it } }, "no signature was read")
        assertEquals(emptyList<String>(), classes.flatMap(::missing))
    }

    @Test
    fun `type that Android lacks is reported`() {
        val own = javaClass.classLoader.getResourceAsStream(WithDesktopType::class.java.name.replace('.', '/') + ".class")!!.readBytes()
        val found = missing(ClassModel.of(own))
        for (type in listOf("java.lang.ProcessHandle", "javax.management.ObjectName", "java.awt.Point")) {
            assertTrue(found.any { it.endsWith(": $type") }, "$type is not in $found")
        }
    }

    /** `class.member: type` of each type of Java or Android that is not in API 24. */
    private fun missing(model: ClassModel): List<String> =
        model.types.flatMap { (declaration, types) ->
            types.filter { it.startsWith("java/") || it.startsWith("javax/") || it.startsWith("android/") }
                .filterNot { it in Platform.api24 }
                .map { "${model.name} $declaration: ${it.replace('/', '.')}" }
        }

    /** Types in a field, in a signature and in type arguments. */
    @Suppress("unused")
    class WithDesktopType(@JvmField val process: ProcessHandle?) {
        fun names(): List<javax.management.ObjectName> = emptyList()

        fun at(point: java.awt.Point): Int = point.x
    }
}
