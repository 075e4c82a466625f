/*
 * Test support: the server of examples/android/server in its own process, started as its README says.
 *
 * The files are copied to a new folder, which is deleted at the end. The program is from the workspace's own build.
 */
package dev.rejoin.todo

import java.io.File
import java.net.URI
import java.nio.file.Files
import java.util.concurrent.TimeUnit

class DemoServer : AutoCloseable {
    private val folder = Files.createTempDirectory("rejoin-example").toFile()
    private val database = File(folder, "demo.db").path
    private val process: Process

    /** The address that it listens on. */
    val url: String

    init {
        run(listOf("sqlite3", database), input = File(FILES, "tables.sql"))
        run(listOf("sqlite3", database), input = File(FILES, "load.sql"))
        val story = System.getenv("REJOIN_STORY_SERVER") ?: error("set REJOIN_STORY_SERVER to the program rejoin-story-server")
        val program = File(story).resolveSibling("rejoin-server").path
        val command = listOf(program, "serve", "--config", File(FILES, "rejoin.toml").path, "--listen", "127.0.0.1:0")
        val builder = ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT)
        builder.environment()["REJOIN_DATABASE"] = database
        process = builder.start()
        Runtime.getRuntime().addShutdownHook(Thread { process.destroyForcibly() })
        url = process.inputReader().readLine()?.removePrefix("listening on ") ?: error("rejoin-server has ended")
    }

    /** A token as the README obtains it. */
    fun token(user: String = "inspectors"): String = run(listOf("sh", File(FILES, "token.sh").path, user)).trim()

    /** The manifest that devices get. */
    fun schema(): String =
        URI("$url/sync/schema").toURL().openConnection().run {
            setRequestProperty("Authorization", "Bearer ${token()}")
            getInputStream().reader().use { it.readText() }
        }

    /** Runs SQL on the server's database, as another program would, and returns its output. */
    fun sql(sql: String): String = run(listOf("sqlite3", "-cmd", ".timeout 5000", database, sql)).trim()

    override fun close() {
        process.destroy()
        process.waitFor(10, TimeUnit.SECONDS)
        folder.deleteRecursively()
    }

    private fun run(command: List<String>, input: File? = null): String {
        val builder = ProcessBuilder(command).directory(FILES).redirectErrorStream(true)
        if (input != null) builder.redirectInput(input)
        val started = builder.start()
        val output = started.inputReader().readText()
        check(started.waitFor() == 0) { "$command: $output" }
        return output
    }

    private companion object {
        val FILES = File(System.getProperty("rejoin.example"), "server").canonicalFile
    }
}
