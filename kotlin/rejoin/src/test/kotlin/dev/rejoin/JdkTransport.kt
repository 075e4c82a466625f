/*
 * A custom transport, as an app would write it.
 */
package dev.rejoin

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import java.net.HttpURLConnection
import java.net.URI
import java.util.concurrent.atomic.AtomicInteger
import java.util.zip.GZIPInputStream

/** HTTP by the JDK with injectable failures: before a request is sent, or by losing its response. */
class JdkTransport(private val lost: (String) -> Boolean = { false }, private val failure: () -> Throwable? = { null }) : HttpTransport {
    val sent = AtomicInteger()
    val disconnected = AtomicInteger()

    override suspend fun send(request: HttpRequest): HttpResponse =
        withContext(Dispatchers.IO) {
            failure()?.let { throw it }
            sent.incrementAndGet()
            val connection = URI(request.url).toURL().openConnection() as HttpURLConnection
            connection.requestMethod = request.method
            connection.readTimeout = request.timeout.inWholeMilliseconds.toInt()
            request.headers.forEach { connection.setRequestProperty(it.name, it.value) }
            request.body?.let {
                connection.doOutput = true
                connection.outputStream.use { out -> out.write(it) }
            }
            val status = connection.responseCode
            val stream = (if (status < 400) connection.inputStream else connection.errorStream)
            val body = stream?.let { if (connection.contentEncoding == "gzip") GZIPInputStream(it) else it }?.use { it.readBytes() } ?: ByteArray(0)
            val headers = connection.headerFields.filterKeys { it != null }.map { (name, values) -> HttpHeader(name, values.first()) }
            if (lost(request.url)) throw IllegalStateException("the answer is lost")
            HttpResponse(status, headers, body)
        }

    override fun disconnect() {
        disconnected.incrementAndGet()
    }
}
