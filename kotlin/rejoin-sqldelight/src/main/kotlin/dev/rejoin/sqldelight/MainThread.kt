/*
 * Whether a thread is Android's main thread. Uses reflection, because this package is also for the JVM.
 */
package dev.rejoin.sqldelight

import java.lang.reflect.Method

private val mainLooper: Method? =
    try {
        Class.forName("android.os.Looper").getMethod("getMainLooper")
    } catch (_: ClassNotFoundException) {
        null
    }

private val threadOf: Method? = mainLooper?.returnType?.getMethod("getThread")

/** Whether this is Android's main thread; false on the JVM. */
internal fun isAndroidMainThread(): Boolean = mainLooper?.invoke(null)?.let { threadOf?.invoke(it) } === Thread.currentThread()
