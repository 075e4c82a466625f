/*
 * Performs registered actions, and replaces an action by performing it again.
 */
package dev.rejoin

import kotlinx.serialization.DeserializationStrategy
import kotlinx.serialization.SerializationStrategy
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.serializer
import dev.rejoin.ffi.Performed as FfiPerformed

/**
 * The result of an action.
 *
 * @property id the mutation that waits for the server; null if the action wrote nothing to synced tables.
 * @property value the value that the action returned.
 */
public data class Performed(val id: String?, val value: JsonElement) {
    /**
     * Decodes the action's value to a [T].
     *
     * @throws RejoinException.InvalidInput if it is not a [T]. The action was performed nevertheless.
     */
    public inline fun <reified T> decode(): T = decode(serializer<T>())

    /** Decodes the action's value with [deserializer]. Throws as the other [decode]. */
    public fun <T> decode(deserializer: DeserializationStrategy<T>): T = value.decode(deserializer) { "the value of the action" }
}

/**
 * Performs an action in one transaction. The transaction becomes one mutation that stores the action's name and
 * arguments. Until the server has accepted it, it runs again when remote changes affect it.
 *
 * Works offline. If the coroutine is cancelled while it waits, the action may still be performed.
 *
 * ```kotlin
 * val taken = client.perform("take", "id" to "nails", "n" to 2)
 * val left = taken.decode<Long>()
 * ```
 *
 * @param arguments a value per parameter name: null, [Boolean], [Byte], [Short], [Int], [Long], [Float], [Double],
 *   [String], [ByteArray], `kotlin.time.Instant`, lists and maps of these, or a [JsonElement].
 * @throws RejoinException.Action if the action is unknown, an argument is invalid, one of the action's rules refuses, or
 *   its code times out; it was rolled back.
 * @throws RejoinException.ActionTooSlow beyond [ActionBudget.run], [RejoinException.ActionTooLarge] beyond
 *   [ActionBudget.bytes]; it was rolled back.
 * @throws RejoinException.Callback with the exception of the action's code as its cause; it was rolled back.
 * @throws RejoinException.InvalidInput for an argument that cannot be converted to JSON, and as [RejoinClient.execute].
 */
public suspend fun RejoinClient.perform(name: String, vararg arguments: Pair<String, Any?>): Performed = perform(name, arguments.toMap())

/** As the other [perform], with the arguments as a map. */
public suspend fun RejoinClient.perform(name: String, arguments: Map<String, Any?>): Performed =
    performing(arguments.toJson { "the arguments of action $name" }) { ffi.perform(name, it) }

/** As the other [perform], with the arguments as a serializable class whose properties are the parameters. */
public suspend inline fun <reified A : Any> RejoinClient.perform(name: String, arguments: A): Performed =
    perform(name, serializer<A>(), arguments)

/** As the other [perform], with the arguments as [serializer] writes them. */
public suspend fun <A> RejoinClient.perform(name: String, serializer: SerializationStrategy<A>, arguments: A): Performed =
    performing(arguments.toJson(serializer) { "the arguments of action $name" }) { ffi.perform(name, it) }

/**
 * Replaces a parked or waiting action: its writes are removed from the rows, and the newest version of the action is
 * performed with these arguments on the current rows. The result is a new mutation at the end of the queue; there is none
 * if nothing is written. The replacement is atomic, also across a crash.
 *
 * Works offline. Mutations parked because of the old one now wait for the new one: pass its id to [retryChain] to retry
 * them. If the coroutine is cancelled while it waits, the call may still take effect.
 *
 * ```kotlin
 * val replaced = client.performAgain(parked.id, "id" to "nails", "n" to 1)
 * replaced.id?.let { client.retryChain(it) }
 * ```
 *
 * @param id the mutation's id, from [pending].
 * @param arguments all arguments of the action, as for [perform].
 * @throws RejoinException as [perform], and [RejoinException.InvalidInput] if there is no mutation with this id, it is
 *   not an action, or the server cannot withdraw what was sent. Then nothing was changed.
 */
public suspend fun RejoinClient.performAgain(id: String, vararg arguments: Pair<String, Any?>): Performed = performAgain(id, arguments.toMap())

/** As the other [performAgain], with the arguments as a map. */
public suspend fun RejoinClient.performAgain(id: String, arguments: Map<String, Any?>): Performed =
    performing(arguments.toJson { "the arguments of mutation $id" }) { ffi.performAgain(id, it) }

/** As the other [performAgain], with the arguments as a serializable class whose properties are the parameters. */
public suspend inline fun <reified A : Any> RejoinClient.performAgain(id: String, arguments: A): Performed =
    performAgain(id, serializer<A>(), arguments)

/** As the other [performAgain], with the arguments as [serializer] writes them. */
public suspend fun <A> RejoinClient.performAgain(id: String, serializer: SerializationStrategy<A>, arguments: A): Performed =
    performing(arguments.toJson(serializer) { "the arguments of mutation $id" }) { ffi.performAgain(id, it) }

private suspend fun RejoinClient.performing(arguments: JsonElement, perform: suspend (String) -> FfiPerformed): Performed {
    val done =
        try {
            writing { perform(arguments.toString()) }
        } catch (error: RejoinException.Callback) {
            throw home.explained(error)
        }
    return Performed(done.id, Json.parseToJsonElement(done.valueJson))
}
