/*
 * Stands in for Android's class of this name; without a main thread unless a test sets one.
 */
package android.os

class Looper(private val thread: Thread) {
    @Suppress("unused") // By reflection.
    fun getThread(): Thread = thread

    companion object {
        @Volatile
        var main: Looper? = null

        @Suppress("unused") // By reflection.
        @JvmStatic
        fun getMainLooper(): Looper? = main
    }
}
