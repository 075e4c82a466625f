/*
 * Performing an action that was registered when the file was opened.
 */
package dev.rejoin

import kotlinx.serialization.DeserializationStrategy
import kotlinx.serialization.SerializationStrategy
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.serializer

/**
 * What became of an action that was performed.
 *
 * @property id the mutation that waits for the server; null if the action wrote nothing to synced tables.
 * @property value what the action gave back.
 */
public data class Performed(val id: String?, val value: JsonElement) {
    /**
     * What the action gave back, as a [T].
     *
     * @throws RejoinException.InvalidInput if it is none. The action was performed all the same.
     */
    public inline fun <reified T> decode(): T = decode(serializer<T>())

    /** What the action gave back, as [deserializer] makes it. Throws as the other [decode]. */
    public fun <T> decode(deserializer: DeserializationStrategy<T>): T = value.decode(deserializer) { "what the action gave back" }
}

/**
 * Performs an action: in one transaction, which becomes one mutation that knows its name and arguments. As long as no server has it,
 * it runs again when remote changes come in under it.
 *
 * Works offline. If the coroutine is cancelled meanwhile, the action goes on and may have been performed.
 *
 * ```kotlin
 * val taken = client.perform("take", "id" to "nails", "n" to 2)
 * val left = taken.decode<Long>()
 * ```
 *
 * @param arguments a value for each parameter by its name: null, [Boolean], [Byte], [Short], [Int], [Long], [Float], [Double],
 *   [String], [ByteArray], `kotlin.time.Instant`, lists and maps of these, or a [JsonElement].
 * @throws RejoinException.Action if there is no such action, for arguments that it does not take, for what its own rules refuse, and
 *   where its code does not end; nothing of it was kept.
 * @throws RejoinException.Callback if its code threw something of its own, which is its cause; nothing of it was kept.
 * @throws RejoinException.InvalidInput for an argument that has no form in JSON, and as [RejoinClient.execute].
 */
public suspend fun RejoinClient.perform(name: String, vararg arguments: Pair<String, Any?>): Performed = perform(name, arguments.toMap())

/** As the other [perform], with the arguments as a map. */
public suspend fun RejoinClient.perform(name: String, arguments: Map<String, Any?>): Performed =
    performing(name, arguments.toJson { "the arguments of action $name" })

/** As the other [perform], with the arguments as a serializable class whose properties are the parameters. */
public suspend inline fun <reified A : Any> RejoinClient.perform(name: String, arguments: A): Performed =
    perform(name, serializer<A>(), arguments)

/** As the other [perform], with the arguments as [serializer] writes them. */
public suspend fun <A> RejoinClient.perform(name: String, serializer: SerializationStrategy<A>, arguments: A): Performed =
    performing(name, arguments.toJson(serializer) { "the arguments of action $name" })

private suspend fun RejoinClient.performing(name: String, arguments: JsonElement): Performed {
    val done =
        try {
            writing { ffi.perform(name, arguments.toString()) }
        } catch (error: RejoinException.Callback) {
            throw home.explained(error)
        }
    return Performed(done.id, Json.parseToJsonElement(done.valueJson))
}
