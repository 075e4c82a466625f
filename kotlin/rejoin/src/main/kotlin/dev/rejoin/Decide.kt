/*
 * What an app decides of a mutation that is parked or waits; giving one up alone (`discard`) is in Sync.kt.
 *
 * Nothing of this needs a network; all of it is in the file when the call returns. What the choices mean stands in
 * docs/verdicts.md.
 */
package dev.rejoin

/**
 * Offers a parked mutation again, as it was written: it goes to the end of the queue, its rows show it at once, and what it compares
 * is what stands there now. So a conflict that the app has looked at ends by its word. Works offline.
 *
 * @param id the mutation's name, from [pending].
 * @throws RejoinException.InvalidInput if there is none of this name, or it is not parked; nothing was changed.
 * @throws RejoinException.StandsOn while the mutation that makes its row is parked; nothing was changed.
 */
public suspend fun RejoinClient.retry(id: String): Unit = writing { ffi.retry(id) }

/**
 * [retry] of a mutation, if it is parked, and of everything that was parked because of it, in their order; tells which they are.
 *
 * ```kotlin
 * client.edit(refused.id, listOf(Statement("UPDATE task SET title = ?", "good")))?.let { client.retryChain(it) }
 * ```
 *
 * @throws RejoinException as [retry].
 */
public suspend fun RejoinClient.retryChain(id: String): List<String> = writing { ffi.retryChain(id) }

/**
 * Mends a parked or waiting mutation in one crossing: [statements] find what it wrote in the rows, on top of how they stand now, and
 * change it. What comes out is a new mutation of plain SQL at the end of the queue, in the place of the old one. Works offline. An
 * action is better mended by [performAgain].
 *
 * What was parked because of the old one now waits for the new one: [retryChain] with its id offers that again.
 *
 * @param id the mutation's name, from [pending].
 * @return the new mutation's id; null if nothing is left.
 * @throws RejoinException as [RejoinClient.batch], and [RejoinException.InvalidInput] if there is no mutation of this name, or the
 *   server cannot take back what was sent. Nothing was changed then.
 */
public suspend fun RejoinClient.edit(id: String, statements: List<Statement>): String? =
    writing { ffi.edit(id, statements.map(Statement::toFfi)) }

/**
 * As the other [edit], in a transaction whose body may wait: it begins with what the mutation wrote laid upon the rows as they stand
 * now. If [body] throws, or the coroutine is cancelled, nothing was changed.
 *
 * ```kotlin
 * val mended = client.edit(refused.id) { tx ->
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
 * [discard] of a mutation and of everything that stands on a row that it made, parked before or only by this; tells which they are,
 * it first.
 *
 * @throws RejoinException as [discard].
 */
public suspend fun RejoinClient.discardChain(id: String): List<String> = writing { ffi.discardChain(id) }
