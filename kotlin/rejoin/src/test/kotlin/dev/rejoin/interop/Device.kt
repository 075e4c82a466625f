/*
 * The device of tests/interop and of the demo: one command a line on standard input, one answer a line on standard output.
 *
 * It ends when standard input closes, and may be killed at any moment. What a command does is in Commands.kt.
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
