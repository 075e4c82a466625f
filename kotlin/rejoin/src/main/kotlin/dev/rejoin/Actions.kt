/*
 * The app's actions: what is registered before the file is opened.
 *
 * Methods only collect; what is wrong is told by opening, all of it together. What runs is in ActionContext.kt, performing in
 * Perform.kt.
 */
package dev.rejoin

import dev.rejoin.ffi.ActionRegistry
import kotlinx.serialization.KSerializer
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.serializer
import dev.rejoin.ffi.ActionDefinition as FfiActionDefinition
import dev.rejoin.ffi.ActionParameter as FfiActionParameter
import dev.rejoin.ffi.ActionParameterType as FfiActionParameterType
import dev.rejoin.ffi.ActionUpgrade as FfiActionUpgrade

/** What a parameter of an action takes. */
public enum class ActionParameterType {
    /** Text without NUL. */
    TEXT,

    /** A whole number of 64 bits. */
    INTEGER,

    /** A number; whole ones too. */
    REAL,

    /** `true` or `false`; 1 or 0 in SQL. */
    BOOLEAN,

    /** An instant. */
    TIME,

    /** Bytes. */
    BLOB,

    /** Any JSON; its text in SQL. */
    JSON,
}

/**
 * A parameter of an action.
 *
 * @property name its name: letters, digits and `_`.
 * @property type what it takes.
 * @property optional whether it may be left out, or be null.
 */
public data class ActionParameter(val name: String, val type: ActionParameterType, val optional: Boolean = false)

/**
 * How arguments of an older version of an action become those of the present one, for a mutation that was performed with the older
 * and has to run again.
 *
 * @property version the older version.
 * @property rename old names, and the new ones.
 * @property set what is set where it is not there, of the kinds that [perform] takes.
 * @property drop what is not taken any more; before the renaming.
 */
public data class ActionUpgrade(
    val version: Long,
    val rename: Map<String, String> = emptyMap(),
    val set: Map<String, Any?> = emptyMap(),
    val drop: List<String> = emptyList(),
)

/**
 * The actions of an app, and the rules that belong to them; handed to [RejoinClient.open]. What is added later has no effect on a
 * file that is open.
 *
 * An action is run when it is performed, and again, at any time, when rows change under it before the server has it. So its code must
 * depend on nothing but its context and its arguments, and wait for nothing but the context: everybody who writes waits for it. It is
 * called on a thread of `Dispatchers.Default`.
 *
 * ```kotlin
 * val actions = Actions {
 *     handler("take", ActionParameter("id", TEXT), ActionParameter("n", INTEGER)) { context, given ->
 *         val n = context.query("SELECT n FROM stock WHERE id = ?", given.string("id")) { it.long(0) }.single()
 *         if (n < given.long("n")) context.refuse("not enough in stock")
 *         context.execute("UPDATE stock SET n = n - ? WHERE id = ?", given.long("n"), given.string("id"))
 *         n - given.long("n")
 *     }
 * }
 * ```
 */
public class Actions(build: Actions.() -> Unit = {}) {
    private val entries = mutableListOf<ActionRegistry.(ActionHome) -> Unit>()

    init {
        build()
    }

    /** Adds an action that is data, one JSON object: the same for every language. Its members stand in `docs/actions.md`. */
    public fun declare(json: String): Unit = add { declare(json) }

    /**
     * Adds an action that is code. Several versions of one name may stand side by side: the newest is performed.
     *
     * Whatever [run] throws, nothing of the action is kept: what the context threw arrives at [perform] as it is, [ActionContext.refuse]
     * as [RejoinException.Action], anything else as the cause of a [RejoinException.Callback]. Where it runs again, the mutation is parked as
     * [ParkReason.UNREPLAYABLE]. Without a statement for [RejoinConfig.transactionIdle], when it runs again for
     * [ActionBudget.rebase], and by [RejoinClient.suspend] and [RejoinClient.shutdown], it is given up: its coroutine is cancelled.
     *
     * @param name its name.
     * @param parameters what it takes.
     * @param version rises when it does something else, or takes other arguments.
     * @param upgrades the older versions whose arguments it takes over. A mutation of another one is laid down as it was recorded.
     * @param run does it. What it gives is the action's value: null, [Unit] or of the kinds that [perform] takes.
     */
    public fun handler(
        name: String,
        vararg parameters: ActionParameter,
        version: Long = 1,
        upgrades: List<ActionUpgrade> = emptyList(),
        run: suspend (ActionContext, ActionArguments) -> Any?,
    ): Unit =
        add { home ->
            val definition = FfiActionDefinition(name, version, parameters.map { it.toFfi() }, upgrades.map { it.toFfi(name) })
            handler(definition, RunningAction(name, home) { context, given -> run(context, given).toJson { "the value of action $name" } })
        }

    /**
     * As the other [handler], with the arguments as an [A] and the value as an [R]. A property of [A] is a parameter; one that has a
     * default or may be null may be left out.
     *
     * @throws RejoinException.Configuration if [A] is no class.
     */
    public fun <A, R> handler(
        name: String,
        arguments: KSerializer<A>,
        result: KSerializer<R>,
        version: Long = 1,
        upgrades: List<ActionUpgrade> = emptyList(),
        run: suspend (ActionContext, A) -> R,
    ) {
        val parameters = arguments.descriptor.toParameters(name).toTypedArray()
        handler(name, *parameters, version = version, upgrades = upgrades) { context, given ->
            val value = run(context, given.decode(arguments))
            if (value == Unit) null else value.toJson(result) { "the value of action $name" }
        }
    }

    /**
     * As the other [handler], with the arguments as an [A] and the value as an [R].
     *
     * ```kotlin
     * @Serializable data class Take(val id: String, val n: Long = 1)
     *
     * handlerOf<Take, Unit>("take") { context, take ->
     *     context.execute("UPDATE stock SET n = n - ? WHERE id = ?", take.n, take.id)
     * }
     * ```
     */
    public inline fun <reified A, reified R> handlerOf(
        name: String,
        version: Long = 1,
        upgrades: List<ActionUpgrade> = emptyList(),
        noinline run: suspend (ActionContext, A) -> R,
    ): Unit = handler(name, serializer<A>(), serializer<R>(), version, upgrades, run)

    /** Says what tells the rows of a table apart that one action makes: [ActionContext.rowId] makes their ids of these columns. */
    public fun identity(table: String, vararg columns: String): Unit =
        add { home ->
            identity(table, columns.asList())
            home.projections -= table.lowercase()
        }

    /**
     * [identity], where a function says it: what [project] makes of the row that [ActionContext.rowId] is given is its identity. A pure
     * function; what it throws is what `rowId` throws. The `ids` of declared actions have their own.
     *
     * ```kotlin
     * projection("line") { row -> mapOf("day" to (row.getValue("at") as String).take(10)) }
     * ```
     */
    public fun projection(table: String, project: (Map<String, Any?>) -> Map<String, Any?>): Unit =
        add { home ->
            projection(table)
            home.projections[table.lowercase()] = project
        }

    /**
     * Says that only actions write this table: any other local write is [RejoinException.InvalidInput]. What the server sends is laid
     * down as ever.
     */
    public fun onlyByActions(table: String): Unit = add { onlyByActions(table) }

    private fun add(entry: ActionRegistry.(ActionHome) -> Unit) {
        synchronized(entries) { entries.add(entry) }
    }

    /** A registry for one opening; whoever asks for it destroys it. */
    internal fun toFfi(home: ActionHome): ActionRegistry {
        val registry = ActionRegistry()
        try {
            for (entry in synchronized(entries) { entries.toList() }) registry.entry(home)
        } catch (why: Throwable) {
            registry.destroy()
            throw why
        }
        return registry
    }
}

private fun ActionParameter.toFfi(): FfiActionParameter =
    FfiActionParameter(
        name = name,
        kind =
            when (type) {
                ActionParameterType.TEXT -> FfiActionParameterType.TEXT
                ActionParameterType.INTEGER -> FfiActionParameterType.INTEGER
                ActionParameterType.REAL -> FfiActionParameterType.REAL
                ActionParameterType.BOOLEAN -> FfiActionParameterType.BOOLEAN
                ActionParameterType.TIME -> FfiActionParameterType.TIME
                ActionParameterType.BLOB -> FfiActionParameterType.BLOB
                ActionParameterType.JSON -> FfiActionParameterType.JSON
            },
        optional = optional,
    )

private fun ActionUpgrade.toFfi(action: String): FfiActionUpgrade {
    val set: JsonElement = set.toJson { "action $action: upgrade of version $version" }
    return FfiActionUpgrade(version, rename, set.toString(), drop)
}
