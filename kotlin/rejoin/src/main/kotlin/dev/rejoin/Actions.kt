/*
 * The app's actions, registered before the file is opened.
 *
 * The methods only collect; opening the file reports all problems together. ActionContext.kt runs actions;
 * RejoinDatabase.kt documents how to perform them.
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

/** The type of an action's parameter. */
public enum class ActionParameterType {
    /** Text without NUL. */
    TEXT,

    /** A 64-bit integer. */
    INTEGER,

    /** A number, integers included. */
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
 * @property name the name: letters, digits and `_`.
 * @property type the type of the value.
 * @property optional whether the argument may be omitted or null.
 */
public data class ActionParameter(val name: String, val type: ActionParameterType, val optional: Boolean = false)

/**
 * Converts arguments of an older action version to the current one, for mutations that were performed with the older
 * version and run again.
 *
 * @property version the older version.
 * @property rename old parameter names and their new names.
 * @property set values for missing arguments, of the types that [RejoinClient.perform] accepts.
 * @property drop arguments to remove, before renaming.
 */
public data class ActionUpgrade(
    val version: Long,
    val rename: Map<String, String> = emptyMap(),
    val set: Map<String, Any?> = emptyMap(),
    val drop: List<String> = emptyList(),
)

/**
 * The actions of an app and the rules that belong to them, passed to [RejoinClient.open]. Changes after that do not
 * affect an open file.
 *
 * An action runs when it is performed, and again whenever its rows change before the server has accepted it. Its code
 * must depend only on its context and its arguments, and wait only for the context: all writers wait for it. It runs
 * on a thread of `Dispatchers.IO`.
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

    /** Adds a declared action, one JSON object, the same in all languages. `docs/actions.md` lists its members. */
    public fun declare(json: String): Unit = add { declare(json) }

    /**
     * Adds an action in code. Several versions of one name may be registered; the newest is performed.
     *
     * If [run] throws, the action is rolled back. [RejoinClient.perform] throws exceptions of the context unchanged,
     * [ActionContext.refuse] as [RejoinException.Action], and any other exception as the cause of a
     * [RejoinException.Callback]. If that happens when the action runs again, the mutation is parked as
     * [ParkReason.UNREPLAYABLE].
     *
     * The coroutine is cancelled after [RejoinConfig.transactionIdle] without a statement, after
     * [ActionBudget.rebase] when it runs again, and by [SyncHandle.suspend] and [RejoinClient.shutdown].
     *
     * @param name the action's name.
     * @param parameters the parameters.
     * @param version increase it when the behaviour or the parameters change.
     * @param upgrades the older versions whose arguments can be converted. A mutation of any other version is applied
     *   as recorded.
     * @param run the code. Its result is the action's value: null, [Unit] or a type that [RejoinClient.perform] accepts.
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
     * As the other [handler], with the arguments as an [A] and the value as an [R]. Each property of [A] is a
     * parameter; a property that is nullable or has a default is optional.
     *
     * @throws RejoinException.Configuration if [A] is not a class.
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

    /**
     * Sets the identity columns of a table: [ActionContext.rowId] derives the ids of rows that an action creates from
     * them.
     */
    public fun identity(table: String, vararg columns: String): Unit =
        add { home ->
            identity(table, columns.asList())
            home.projections -= table.lowercase()
        }

    /**
     * As [identity], with a function: the result of [project] for the row passed to [ActionContext.rowId] is its
     * identity. It must be a pure function; `rowId` throws what it throws. Declared actions use their own `ids`.
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
     * Makes a table writable by actions only: any other local write throws [RejoinException.InvalidInput]. Remote
     * rows are applied as usual.
     */
    public fun onlyByActions(table: String): Unit = add { onlyByActions(table) }

    private fun add(entry: ActionRegistry.(ActionHome) -> Unit) {
        synchronized(entries) { entries.add(entry) }
    }

    /** Creates the registry for one open; the caller destroys it. */
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
