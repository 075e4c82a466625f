/*
 * Arguments and results of actions, and their conversion between JSON and Kotlin types.
 *
 * A value that neither table lists is rejected with its type. Bytes are base64, as in all languages, not the number
 * array that kotlinx.serialization would write.
 */
package dev.rejoin

import kotlinx.serialization.DeserializationStrategy
import kotlinx.serialization.ExperimentalSerializationApi
import kotlinx.serialization.SerializationException
import kotlinx.serialization.SerializationStrategy
import kotlinx.serialization.builtins.ByteArraySerializer
import kotlinx.serialization.descriptors.PrimitiveKind
import kotlinx.serialization.descriptors.SerialDescriptor
import kotlinx.serialization.descriptors.SerialKind
import kotlinx.serialization.descriptors.StructureKind
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.doubleOrNull
import kotlinx.serialization.json.longOrNull
import kotlinx.serialization.serializer
import kotlin.io.encoding.Base64
import kotlin.time.Instant

/**
 * The arguments of an action, by parameter name; each has the type of its parameter.
 *
 * @property json all arguments, unchanged.
 */
public class ActionArguments internal constructor(private val action: String, public val json: JsonObject) {
    /** The raw argument; [JsonNull] if it was omitted. */
    public operator fun get(name: String): JsonElement = json[name] ?: JsonNull

    /** A text argument. */
    public fun string(name: String): String = given(name, stringOrNull(name))

    /** A text argument, or null if it was omitted. */
    public fun stringOrNull(name: String): String? = read(name, "text") { if (it.isString) it.content else null }

    /** An integer argument. */
    public fun long(name: String): Long = given(name, longOrNull(name))

    /** An integer argument, or null if it was omitted. */
    public fun longOrNull(name: String): Long? = read(name, "an integer") { if (it.isString) null else it.longOrNull }

    /** A number argument. */
    public fun double(name: String): Double = given(name, doubleOrNull(name))

    /** A number argument, or null if it was omitted. */
    public fun doubleOrNull(name: String): Double? = read(name, "a number") { if (it.isString) null else it.doubleOrNull }

    /** A boolean argument. */
    public fun boolean(name: String): Boolean = given(name, booleanOrNull(name))

    /** A boolean argument, or null if it was omitted. */
    public fun booleanOrNull(name: String): Boolean? = read(name, "true or false") { if (it.isString) null else it.booleanOrNull }

    /** An instant argument. */
    public fun instant(name: String): Instant = given(name, instantOrNull(name))

    /** An instant argument, or null if it was omitted. */
    public fun instantOrNull(name: String): Instant? = read(name, "an instant") { Instant.parseOrNull(it.content) }

    /** A bytes argument. */
    public fun bytes(name: String): ByteArray = given(name, bytesOrNull(name))

    /** A bytes argument, or null if it was omitted. */
    public fun bytesOrNull(name: String): ByteArray? =
        read(name, "bytes") { runCatching { Base64.decode(it.content) }.getOrNull() }

    /** Decodes all arguments to a [T] with serializable properties of the same names. */
    public inline fun <reified T> decode(): T = decode(serializer<T>())

    /** Decodes all arguments with [deserializer]. */
    public fun <T> decode(deserializer: DeserializationStrategy<T>): T =
        json.decode(deserializer) { "the arguments of action $action" }

    override fun toString(): String = json.toString()

    private fun <T : Any> given(name: String, value: T?): T =
        value ?: throw RejoinException.InvalidInput("action $action: the argument $name was left out")

    private fun <T> read(name: String, what: String, read: (JsonPrimitive) -> T?): T? {
        val value = get(name)
        if (value is JsonNull) return null
        return (value as? JsonPrimitive)?.let(read)
            ?: throw RejoinException.InvalidInput("action $action: the argument $name is not $what")
    }
}

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

private val format =
    Json {
        // The defaults at the time of the call are part of the arguments, also if the class changes later.
        encodeDefaults = true
        explicitNulls = false
        ignoreUnknownKeys = true
    }

/** Converts a value of the app; [what] names it in the error message. */
internal fun Any?.toJson(what: () -> String): JsonElement =
    when (this) {
        null, Unit -> JsonNull
        is JsonElement -> this
        is String -> JsonPrimitive(this)
        is Boolean -> JsonPrimitive(this)
        is Byte, is Short, is Int, is Long -> JsonPrimitive(this as Number)
        is Double -> if (isFinite()) JsonPrimitive(this) else throw RejoinException.InvalidInput("${what()}: JSON cannot represent $this")
        is Float -> if (isFinite()) JsonPrimitive(this) else throw RejoinException.InvalidInput("${what()}: JSON cannot represent $this")
        is ByteArray -> JsonPrimitive(Base64.encode(this))
        is Instant -> JsonPrimitive(toString())
        is Iterable<*> -> JsonArray(mapIndexed { number, it -> it.toJson { "${what()}: number ${number + 1}" } })
        is Map<*, *> ->
            JsonObject(
                entries.associate { (name, value) ->
                    val known = name as? String ?: throw RejoinException.InvalidInput("${what()}: names must be text, not $name")
                    known to value.toJson { "${what()}: $known" }
                },
            )
        else -> throw RejoinException.InvalidInput(
            "${what()}: ${this::class.qualifiedName} cannot be converted to JSON; use null, Boolean, a number, String, ByteArray, Instant, " +
                "a list or map of these, a JsonElement, or a serializable class for all of it",
        )
    }

/** Converts a value of a serializable class. */
internal fun <T> T.toJson(serializer: SerializationStrategy<T>, what: () -> String): JsonElement =
    serialized(what) {
        format.encodeToJsonElement(serializer, this).bytes(serializer.descriptor) { list ->
            val numbers = format.decodeFromJsonElement(ByteArraySerializer(), list)
            JsonPrimitive(Base64.encode(numbers))
        }
    }

internal fun <T> JsonElement.decode(deserializer: DeserializationStrategy<T>, what: () -> String): T =
    serialized(what) {
        val plain =
            bytes(deserializer.descriptor) { text ->
                format.encodeToJsonElement(ByteArraySerializer(), Base64.decode((text as JsonPrimitive).content))
            }
        format.decodeFromJsonElement(deserializer, plain)
    }

private inline fun <T> serialized(what: () -> String, block: () -> T): T =
    try {
        block()
    } catch (why: SerializationException) {
        throw RejoinException.InvalidInput("${what()}: ${why.message}", why)
    } catch (why: IllegalArgumentException) {
        throw RejoinException.InvalidInput("${what()}: ${why.message}", why)
    }

/** Returns the object with the members that are bytes in the class replaced by [make]. */
@OptIn(ExperimentalSerializationApi::class)
private fun JsonElement.bytes(descriptor: SerialDescriptor, make: (JsonElement) -> JsonElement): JsonElement {
    if (this !is JsonObject || descriptor.kind != StructureKind.CLASS) return this
    val names = (0 until descriptor.elementsCount).filter { descriptor.getElementDescriptor(it).isBytes() }.map(descriptor::getElementName)
    return JsonObject(mapValues { (name, value) -> if (name in names && value !is JsonNull) make(value) else value })
}

@OptIn(ExperimentalSerializationApi::class)
private fun SerialDescriptor.isBytes(): Boolean = serialName.removeSuffix("?") == BYTES

/** The parameters that the properties of a class define. */
@OptIn(ExperimentalSerializationApi::class)
internal fun SerialDescriptor.toParameters(action: String): List<ActionParameter> {
    if (kind != StructureKind.CLASS && kind != StructureKind.OBJECT) {
        throw RejoinException.Configuration("action $action: $serialName is not a class with properties")
    }
    return (0 until elementsCount).map { number ->
        val element = getElementDescriptor(number)
        ActionParameter(getElementName(number), element.toParameterType(), isElementOptional(number) || element.isNullable)
    }
}

@OptIn(ExperimentalSerializationApi::class)
private fun SerialDescriptor.toParameterType(): ActionParameterType =
    when {
        isInline -> getElementDescriptor(0).toParameterType()
        isBytes() -> ActionParameterType.BLOB
        serialName.removeSuffix("?") == INSTANT -> ActionParameterType.TIME
        else ->
            when (kind) {
                PrimitiveKind.BOOLEAN -> ActionParameterType.BOOLEAN
                PrimitiveKind.BYTE, PrimitiveKind.SHORT, PrimitiveKind.INT, PrimitiveKind.LONG -> ActionParameterType.INTEGER
                PrimitiveKind.FLOAT, PrimitiveKind.DOUBLE -> ActionParameterType.REAL
                PrimitiveKind.CHAR, PrimitiveKind.STRING, SerialKind.ENUM -> ActionParameterType.TEXT
                else -> ActionParameterType.JSON
            }
    }

@OptIn(ExperimentalSerializationApi::class)
private val BYTES = ByteArraySerializer().descriptor.serialName

@OptIn(ExperimentalSerializationApi::class)
private val INSTANT = serializer<Instant>().descriptor.serialName
