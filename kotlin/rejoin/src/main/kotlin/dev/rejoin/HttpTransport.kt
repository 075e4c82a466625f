/*
 * Lets the app replace the built-in HTTP client with the platform's.
 */
package dev.rejoin

import java.net.ConnectException
import java.net.NoRouteToHostException
import java.net.UnknownHostException
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import dev.rejoin.ffi.HttpHeader as FfiHttpHeader
import dev.rejoin.ffi.HttpRequest as FfiHttpRequest
import dev.rejoin.ffi.HttpResponse as FfiHttpResponse
import dev.rejoin.ffi.HttpTransport as FfiHttpTransport

/**
 * A header of a request or a response.
 *
 * @property name the name, in any case.
 * @property value its value.
 */
public class HttpHeader(public val name: String, public val value: String)

/**
 * A request to the server.
 *
 * @property method `GET` or `POST`.
 * @property url the full URL.
 * @property headers the headers to send unchanged. They contain the user's token: do not log them.
 * @property body the body as sent over the wire, if any.
 * @property timeout the longest silence, before the response starts and between two parts of it.
 */
public class HttpRequest(
    public val method: String,
    public val url: String,
    public val headers: List<HttpHeader>,
    public val body: ByteArray?,
    public val timeout: Duration,
)

/**
 * The server's response.
 *
 * @property status the HTTP status.
 * @property headers the headers.
 * @property body the whole body, decompressed.
 */
public class HttpResponse(public val status: Int, public val headers: List<HttpHeader>, public val body: ByteArray)

/**
 * Sends requests to the server in place of the built-in HTTP client.
 *
 * With a custom transport the client does not use the server's event stream: it syncs at its interval and after writes.
 */
public interface HttpTransport {
    /**
     * Sends one request and returns the whole response, whatever its status. Must not follow redirects or retry.
     *
     * Throw [RejoinException.Offline] only if the request cannot have reached the server; [ConnectException],
     * [NoRouteToHostException] and [UnknownHostException] mean the same. After any other exception the outcome is unknown
     * and the request is sent again later. The coroutine is cancelled when the engine no longer needs the response.
     */
    public suspend fun send(request: HttpRequest): HttpResponse

    /** Closes all open connections; connections are dead after a suspension. */
    public fun disconnect() {}
}

internal fun HttpTransport.toFfi(): FfiHttpTransport =
    object : FfiHttpTransport {
        override suspend fun send(request: FfiHttpRequest): FfiHttpResponse =
            answered {
                val publicRequest =
                    HttpRequest(
                        method = request.method,
                        url = request.url,
                        headers = request.headers.map { HttpHeader(it.name, it.value) },
                        body = request.body,
                        timeout = request.timeoutMs.toLong().milliseconds,
                    )
                val answer = unreachable { this@toFfi.send(publicRequest) }
                if (answer.status !in 0..UShort.MAX_VALUE.toInt()) {
                    throw IllegalArgumentException("${answer.status} is not an HTTP status")
                }
                val headers = answer.headers.map { FfiHttpHeader(it.name, it.value) }
                FfiHttpResponse(answer.status.toUShort(), headers, answer.body)
            }

        override fun disconnect() = answered { this@toFfi.disconnect() }
    }

/** Translates the JDK's exceptions that are thrown before a request is sent. */
private inline fun <T> unreachable(block: () -> T): T =
    try {
        block()
    } catch (error: ConnectException) {
        throw RejoinException.Offline(error.toString(), error)
    } catch (error: NoRouteToHostException) {
        throw RejoinException.Offline(error.toString(), error)
    } catch (error: UnknownHostException) {
        throw RejoinException.Offline(error.toString(), error)
    }
