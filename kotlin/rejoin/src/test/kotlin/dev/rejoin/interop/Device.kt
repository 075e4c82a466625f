/*
 * The device of tests/interop and of the demo: reads one command per line from standard input, writes one answer per line
 * to standard output.
 *
 * It exits when standard input closes, and may be killed at any time. Commands.kt runs the commands.
 */
package dev.rejoin.interop

import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.jsonObject

fun main(): Unit =
    runBlocking {
        val device = Device()
        for (line in generateSequence(::readlnOrNull)) {
            val command = Json.parseToJsonElement(line).jsonObject
            println(device.answer(command))
            if (command.text("do") == "quit") break
        }
    }
