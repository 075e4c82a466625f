/*
 * Programs that a test runs in a JVM of their own: one that ends without closing its file, one whose disk is full, one
 * without the native library. They use the client without Android.
 */
package dev.rejoin.android

import dev.rejoin.RejoinClient
import dev.rejoin.RejoinConfig
import dev.rejoin.RejoinException
import kotlinx.coroutines.runBlocking
import java.io.File
import java.util.concurrent.TimeUnit.SECONDS
import kotlin.system.exitProcess

object Child {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val (task, path, server, schema) = arguments
        val config = RejoinConfig(path, server = server.ifEmpty { null }, schema = File(schema).readText())
        try {
            runBlocking {
                val client = RejoinClient.open(config)
                when (task) {
                    "die" -> {
                        client.execute("INSERT INTO task(id, title) VALUES ('t1', 'written before the end')")
                        Runtime.getRuntime().halt(0)
                    }
                    "fill" ->
                        repeat(1_000) {
                            client.execute("INSERT INTO task(id, title) VALUES (?, ?)", "t$it", "x".repeat(10_000))
                            println("written ${it + 1}")
                        }
                    "count" -> println("rows ${client.query("SELECT count(*) FROM task").first().long(0)}")
                }
            }
        } catch (error: RejoinException) {
            println("${error.code}: ${error.reason}")
        }
        exitProcess(0)
    }
}

/** Runs [task] on a file in a new JVM and returns what it printed. [shell] precedes its command line. */
internal fun child(task: String, config: RejoinConfig, shell: String = "", library: String? = System.getProperty("jna.library.path")): List<String> {
    val schema = File.createTempFile("schema", ".json").apply { writeText(config.schema.orEmpty()) }
    try {
        val java = File(System.getProperty("java.home"), "bin/java").path
        val words =
            listOf(java, "-Djna.library.path=$library", "-cp", System.getProperty("java.class.path"), Child::class.java.name) +
                listOf(task, config.path, config.server.orEmpty(), schema.path)
        val command = if (shell.isEmpty()) words else listOf("sh", "-c", "$shell exec \"$@\"", "sh") + words
        val builder = ProcessBuilder(command).redirectErrorStream(true)
        // Cargo names the folder of the library there.
        builder.environment().remove("LD_LIBRARY_PATH")
        val process = builder.start()
        val printed = process.inputStream.bufferedReader().readLines()
        check(process.waitFor(60, SECONDS)) { "the child does not end" }
        return printed
    } finally {
        schema.delete()
    }
}

/** A process that writes one task and is killed. */
internal fun writeAndDie(config: RejoinConfig) {
    val printed = child("die", config)
    check(printed.isEmpty()) { printed.joinToString("\n") }
}
