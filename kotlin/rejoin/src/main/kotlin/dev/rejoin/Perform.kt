/*
 * Performing an action that was registered when the file was opened, and mending one by performing it again.
 */
package dev.rejoin

import kotlinx.serialization.DeserializationStrategy
import kotlinx.serialization.SerializationStrategy
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.serializer
import dev.rejoin.ffi.Performed as FfiPerformed

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
 * @throws RejoinException.ActionTooSlow beyond [ActionBudget.run], and [RejoinException.ActionTooLarge] beyond [ActionBudget.bytes];
 *   nothing of it was kept.
 * @throws RejoinException.Callback if its code threw something of its own, which is its cause; nothing of it was kept.
 * @throws RejoinException.InvalidInput for an argument that has no form in JSON, and as [RejoinClient.execute].
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
 * Mends an action that is parked or waits: what it wrote leaves the rows, and the newest version of it is performed with these
 * arguments on what is there then. What comes out is a new mutation at the end of the queue, in the place of the old one; all of it or
 * nothing, also across a crash. Where nothing is written this time, there is no new one.
 *
 * Works offline. What was parked because of the old one now waits for the new one: [retryChain] with its id offers that again. If the
 * coroutine is cancelled meanwhile, it goes on and may have been done.
 *
 * ```kotlin
 * val mended = client.performAgain(parked.id, "id" to "nails", "n" to 1)
 * mended.id?.let { client.retryChain(it) }
 * ```
 *
 * @param id the mutation's name, from [pending].
 * @param arguments all that the action takes, as for [perform].
 * @throws RejoinException as [perform], and [RejoinException.InvalidInput] if there is no mutation of this name, it is no action, or the
 *   server cannot take back what was sent. Nothing was changed then.
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
