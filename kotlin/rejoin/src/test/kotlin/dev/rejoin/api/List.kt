/*
 * Lists the public API of the packages, from their compiled classes, for `cargo xtask api`. The generated bindings are left
 * out: apps do not call them.
 */
package dev.rejoin.api

import org.jetbrains.kotlin.abi.tools.AbiFilters
import org.jetbrains.kotlin.abi.tools.AbiTools
import java.io.File

fun main(arguments: Array<String>) {
    val classes = arguments.flatMap { File(it).walk() }.filter { it.extension == "class" }
    val filters = AbiFilters(emptySet(), setOf("dev.rejoin.ffi.**"), emptySet(), emptySet())
    AbiTools.getInstance().printJvmDump(System.out, classes, filters)
}
