/*
 * Decodes rows to objects with kotlinx.serialization.
 *
 * Properties are matched to columns by name (`@SerialName` applies). The mapping is computed once per result, so a row
 * costs only its cells. Row's getters define the allowed conversions; a nested object is rejected with a message that
 * says what to do instead.
 */
package dev.rejoin

import kotlinx.serialization.DeserializationStrategy
import kotlinx.serialization.ExperimentalSerializationApi
import kotlinx.serialization.SerializationException
import kotlinx.serialization.builtins.ByteArraySerializer
import kotlinx.serialization.builtins.serializer
import kotlinx.serialization.descriptors.SerialDescriptor
import kotlinx.serialization.descriptors.StructureKind
import kotlinx.serialization.encoding.CompositeDecoder
import kotlinx.serialization.encoding.Decoder
import kotlinx.serialization.modules.EmptySerializersModule
import kotlinx.serialization.modules.SerializersModule
import kotlinx.serialization.serializer

/**
 * Decodes each row to a [T] with serializable properties of the same names as the columns.
 *
 * Unknown columns are ignored; a property without a column uses its default. `Boolean` reads an integer of 0 or 1, an
 * enum the text of the entry's name, `ByteArray` bytes. Numbers are range-checked; only a real number that becomes a
 * `Float` is rounded. A result with one column can be decoded to a plain `String`, `Long` and so on.
 *
 * ```kotlin
 * @Serializable
 * data class Task(val id: String, val title: String, val done: Boolean = false, val note: String? = null)
 *
 * val tasks: List<Task> = client.query("SELECT * FROM task").decode()
 * ```
 *
 * @throws RejoinException.InvalidInput if a cell does not fit its property, or a property without a default has no
 *   column.
 */
public inline fun <reified T> RowBuffer.decode(): List<T> = decode(serializer<T>())

/**
 * Decodes each row with [deserializer].
 *
 * @throws RejoinException.InvalidInput as the other [decode].
 */
public fun <T> RowBuffer.decode(deserializer: DeserializationStrategy<T>): List<T> {
    val decoder = RowDecoder(RowPlan(deserializer.descriptor, this))
    return mapRows { decoder.decode(it, deserializer) }
}

/**
 * Decodes this row to a [T]. For many rows [RowBuffer.decode] is faster.
 *
 * @throws RejoinException.InvalidInput as [RowBuffer.decode].
 */
public inline fun <reified T> Row.decode(): T = decode(serializer<T>())

/**
 * Decodes this row with [deserializer].
 *
 * @throws RejoinException.InvalidInput as [RowBuffer.decode].
 */
public fun <T> Row.decode(deserializer: DeserializationStrategy<T>): T =
    RowDecoder(RowPlan(deserializer.descriptor, buffer)).decode(this, deserializer)

/** The column of each property of a class; -1 if the result has none. */
@OptIn(ExperimentalSerializationApi::class)
internal class RowPlan(val descriptor: SerialDescriptor, buffer: RowBuffer) {
    val isObject = descriptor.kind == StructureKind.CLASS && !descriptor.isInline

    val columns =
        if (isObject) {
            IntArray(descriptor.elementsCount) { buffer.numberOrMinusOne(descriptor.getElementName(it)) }
        } else {
            intArrayOf(0)
        }

    /** Whether each property has a column, so that the generated code may read them in sequence. */
    val isWhole = columns.none { it < 0 }

    init {
        if (!isObject && buffer.columns.size != 1) {
            throw RejoinException.InvalidInput(
                "refused decoding to ${descriptor.serialName}: it takes one column, the result has ${buffer.columns.size}",
            )
        }
    }
}

/** One decoder for all rows of a result, moved from row to row. */
@OptIn(ExperimentalSerializationApi::class)
internal class RowDecoder(private val plan: RowPlan) : CompositeDecoder {
    private val cell = CellDecoder(this)
    private lateinit var row: Row
    private var next = 0

    override val serializersModule: SerializersModule = EmptySerializersModule()

    fun <T> decode(row: Row, deserializer: DeserializationStrategy<T>): T {
        this.row = row
        next = 0
        cell.moveTo(row, if (plan.isObject) CellDecoder.WHOLE_ROW else 0)
        return translated { cell.decodeSerializableValue(deserializer) }
    }

    private inline fun <T> translated(block: () -> T): T =
        try {
            block()
        } catch (why: SerializationException) {
            throw RejoinException.InvalidInput(
                "refused decoding to ${plan.descriptor.serialName} from the columns ${row.columns.joinToString()}: ${why.message}",
                why,
            )
        }

    override fun decodeSequentially(): Boolean = plan.isWhole

    override fun decodeElementIndex(descriptor: SerialDescriptor): Int {
        while (next < plan.columns.size) if (plan.columns[next++] >= 0) return next - 1
        return CompositeDecoder.DECODE_DONE
    }

    override fun endStructure(descriptor: SerialDescriptor): Unit = Unit

    override fun decodeBooleanElement(descriptor: SerialDescriptor, index: Int): Boolean = row.boolean(plan.columns[index])

    override fun decodeByteElement(descriptor: SerialDescriptor, index: Int): Byte = at(index).decodeByte()

    override fun decodeShortElement(descriptor: SerialDescriptor, index: Int): Short = at(index).decodeShort()

    override fun decodeIntElement(descriptor: SerialDescriptor, index: Int): Int = row.int(plan.columns[index])

    override fun decodeLongElement(descriptor: SerialDescriptor, index: Int): Long = row.long(plan.columns[index])

    override fun decodeFloatElement(descriptor: SerialDescriptor, index: Int): Float = row.float(plan.columns[index])

    override fun decodeDoubleElement(descriptor: SerialDescriptor, index: Int): Double = row.double(plan.columns[index])

    override fun decodeCharElement(descriptor: SerialDescriptor, index: Int): Char = at(index).decodeChar()

    override fun decodeStringElement(descriptor: SerialDescriptor, index: Int): String = row.string(plan.columns[index])

    override fun decodeInlineElement(descriptor: SerialDescriptor, index: Int): Decoder =
        at(index).decodeInline(descriptor.getElementDescriptor(index))

    override fun <T> decodeSerializableElement(
        descriptor: SerialDescriptor,
        index: Int,
        deserializer: DeserializationStrategy<T>,
        previousValue: T?,
    ): T = at(index).decodeSerializableValue(deserializer)

    override fun <T : Any> decodeNullableSerializableElement(
        descriptor: SerialDescriptor,
        index: Int,
        deserializer: DeserializationStrategy<T?>,
        previousValue: T?,
    ): T? =
        if (deserializer.descriptor.isNullable || !row.isNull(plan.columns[index])) {
            at(index).decodeSerializableValue(deserializer)
        } else {
            null
        }

    private fun at(index: Int): CellDecoder = cell.also { it.moveTo(row, plan.columns[index]) }

    /** Called by [CellDecoder] for the row's own object. */
    fun begin(): CompositeDecoder = this
}

/** Decodes one cell; at [WHOLE_ROW] it opens the row's object. */
@OptIn(ExperimentalSerializationApi::class)
internal class CellDecoder(private val rows: RowDecoder) : Decoder {
    private lateinit var row: Row
    private var column = 0

    /** Whether an unsigned integer is expected: read as the signed one of the same width and bits. */
    private var unsigned = false

    override val serializersModule: SerializersModule get() = rows.serializersModule

    fun moveTo(row: Row, column: Int) {
        this.row = row
        this.column = column
        unsigned = false
    }

    override fun decodeNotNullMark(): Boolean = column == WHOLE_ROW || !row.isNull(column)

    override fun decodeNull(): Nothing? = null

    override fun decodeBoolean(): Boolean = row.boolean(column)

    override fun decodeByte(): Byte =
        (if (unsigned) narrow("UByte", BYTE_U) else narrow("Byte", Byte.MIN_VALUE.toLong()..Byte.MAX_VALUE)).toByte()

    override fun decodeShort(): Short =
        (if (unsigned) narrow("UShort", SHORT_U) else narrow("Short", Short.MIN_VALUE.toLong()..Short.MAX_VALUE)).toShort()

    override fun decodeInt(): Int = if (unsigned) narrow("UInt", INT_U).toInt() else row.int(column)

    override fun decodeLong(): Long = if (unsigned) narrow("ULong", 0..Long.MAX_VALUE) else row.long(column)

    override fun decodeFloat(): Float = row.float(column)

    override fun decodeDouble(): Double = row.double(column)

    override fun decodeChar(): Char {
        val text = row.string(column)
        return text.singleOrNull() ?: throw row.refused(column, "it is a text of ${text.length} characters, not one")
    }

    override fun decodeString(): String = row.string(column)

    override fun decodeEnum(enumDescriptor: SerialDescriptor): Int {
        val name = row.string(column)
        val index = enumDescriptor.getElementIndex(name)
        if (index == CompositeDecoder.UNKNOWN_NAME) {
            throw row.refused(column, "\"$name\" is no ${enumDescriptor.serialName}")
        }
        return index
    }

    override fun decodeInline(descriptor: SerialDescriptor): Decoder {
        unsigned = descriptor in UNSIGNED
        return this
    }

    @Suppress("UNCHECKED_CAST") // The descriptor says that T is ByteArray.
    override fun <T> decodeSerializableValue(deserializer: DeserializationStrategy<T>): T =
        if (deserializer.descriptor === BYTES) row.bytes(column) as T else deserializer.deserialize(this)

    override fun beginStructure(descriptor: SerialDescriptor): CompositeDecoder {
        if (column == WHOLE_ROW && descriptor.kind == StructureKind.CLASS) {
            column = 0
            return rows.begin()
        }
        throw row.refused(
            column.coerceAtLeast(0),
            "a cell holds no ${descriptor.serialName}; select its parts as columns, or keep it as JSON text with a serializer of its own",
        )
    }

    private fun narrow(type: String, range: LongRange): Long {
        val number = row.long(column)
        return if (number in range) number else throw row.outOfRange(column, number, type)
    }

    companion object {
        /** Used instead of a column's number. */
        const val WHOLE_ROW = -1

        private val BYTES = ByteArraySerializer().descriptor
        private val UNSIGNED =
            listOf(UByte.serializer(), UShort.serializer(), UInt.serializer(), ULong.serializer()).map { it.descriptor }
        private val BYTE_U = 0L..UByte.MAX_VALUE.toLong()
        private val SHORT_U = 0L..UShort.MAX_VALUE.toLong()
        private val INT_U = 0L..UInt.MAX_VALUE.toLong()
    }
}
