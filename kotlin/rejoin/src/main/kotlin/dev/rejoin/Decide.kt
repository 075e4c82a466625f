/*
 * The app's decisions about parked and waiting mutations. Sync.kt has `discard`.
 *
 * Everything works offline and is in the file when the call returns. docs/verdicts.md explains the choices.
 */
package dev.rejoin

/**
 * Retries a parked mutation unchanged: it moves to the end of the queue, its rows show it at once, and it is compared
 * with the current values. This resolves a conflict in favour of the mutation. Works offline.
 *
 * @param id the mutation's id, from [pending].
 * @throws RejoinException.InvalidInput if there is no mutation with this id, or it is not parked; nothing was
 *   changed.
 * @throws RejoinException.StandsOn while the mutation that creates its row is parked; nothing was changed.
 */
public suspend fun RejoinClient.retry(id: String): Unit = writing { ffi.retry(id) }

/**
 * Retries a mutation, if it is parked, and all mutations parked because of it, in their order. Returns their ids.
 *
 * ```kotlin
 * client.edit(refused.id, listOf(Statement("UPDATE task SET title = ?", "good")))?.let { client.retryChain(it) }
 * ```
 *
 * @throws RejoinException as [retry].
 */
public suspend fun RejoinClient.retryChain(id: String): List<String> = writing { ffi.retryChain(id) }

/**
 * Replaces a parked or waiting mutation in one call to the engine. [statements] run on the current rows with the
 * mutation's writes applied. The result is a new plain SQL mutation at the end of the queue that replaces the old
 * one. Works offline. For actions prefer [performAgain].
 *
 * Mutations parked because of the old one now wait for the new one: pass its id to [retryChain] to retry them.
 *
 * @param id the mutation's id, from [pending].
 * @return the new mutation's id; null if no change is left.
 * @throws RejoinException as [RejoinClient.batch], and [RejoinException.InvalidInput] if there is no mutation with
 *   this id or the server cannot withdraw what was sent. Then nothing was changed.
 */
public suspend fun RejoinClient.edit(id: String, statements: List<Statement>): String? =
    writing { ffi.edit(id, statements.map(Statement::toFfi)) }

/**
 * As the other [edit], with a transaction whose body may wait. It starts with the mutation's writes applied to the
 * current rows. If [body] throws or the coroutine is cancelled, nothing is changed.
 *
 * ```kotlin
 * val edited = client.edit(refused.id) { tx ->
 *     val title = tx.query("SELECT title FROM task WHERE id = ?", id) { it.string(0) }.single()
 *     tx.execute("UPDATE task SET title = ? WHERE id = ?", ask(title), id)
 * }
 * ```
 *
 * @throws RejoinException as the other [edit], and as [RejoinClient.transaction].
 */
public suspend fun RejoinClient.edit(id: String, body: suspend (Transaction) -> Unit): String? =
    holding({ ffi.beginEdit(id) }) { tx ->
        tx.run(body)
        tx.edited()
    }

/**
 * Discards a mutation and all mutations that depend on a row that it created. Returns their ids, the given one first.
 *
 * @throws RejoinException as [discard].
 */
public suspend fun RejoinClient.discardChain(id: String): List<String> = writing { ffi.discardChain(id) }
