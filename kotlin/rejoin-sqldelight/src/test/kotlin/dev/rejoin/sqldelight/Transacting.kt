/*
 * Test support: the transactions of both kinds of generated databases behind one interface.
 */
package dev.rejoin.sqldelight

import app.cash.sqldelight.SuspendingTransacterImpl
import app.cash.sqldelight.SuspendingTransactionWithoutReturn
import app.cash.sqldelight.TransacterImpl
import app.cash.sqldelight.TransactionWithoutReturn
import app.cash.sqldelight.db.SqlDriver
import kotlinx.coroutines.runBlocking

/** Transactions of both kinds, with the same calls. */
interface Transacting {
    suspend fun transaction(noEnclosing: Boolean = false, body: suspend Scope.() -> Unit)

    suspend fun result(roll: String?): String

    interface Scope {
        fun afterCommit(function: () -> Unit)

        fun afterRollback(function: () -> Unit)

        fun rollback(): Nothing

        suspend fun transaction(body: suspend Scope.() -> Unit)
    }
}

class Suspending(driver: SqlDriver) : Transacting {
    private val transacter = object : SuspendingTransacterImpl(driver) {}

    private class Inside(private val scope: SuspendingTransactionWithoutReturn) : Transacting.Scope {
        override fun afterCommit(function: () -> Unit) = scope.afterCommit(function)

        override fun afterRollback(function: () -> Unit) = scope.afterRollback(function)

        override fun rollback() = scope.rollback()

        override suspend fun transaction(body: suspend Transacting.Scope.() -> Unit) = scope.transactionWithResult { Inside(this).body() }
    }

    override suspend fun transaction(noEnclosing: Boolean, body: suspend Transacting.Scope.() -> Unit) =
        transacter.transaction(noEnclosing) { Inside(this).body() }

    override suspend fun result(roll: String?): String = transacter.transactionWithResult { if (roll != null) rollback(roll) else "returned" }
}

class Blocking(driver: SqlDriver) : Transacting {
    private val transacter = object : TransacterImpl(driver) {}

    private class Inside(private val scope: TransactionWithoutReturn) : Transacting.Scope {
        override fun afterCommit(function: () -> Unit) = scope.afterCommit(function)

        override fun afterRollback(function: () -> Unit) = scope.afterRollback(function)

        override fun rollback() = scope.rollback()

        override suspend fun transaction(body: suspend Transacting.Scope.() -> Unit) =
            scope.transaction { runBlocking { Inside(this@transaction).body() } }
    }

    override suspend fun transaction(noEnclosing: Boolean, body: suspend Transacting.Scope.() -> Unit) =
        transacter.transaction(noEnclosing) { runBlocking { Inside(this@transaction).body() } }

    override suspend fun result(roll: String?): String = transacter.transactionWithResult { if (roll != null) rollback(roll) else "returned" }
}
