/*
 * The platform's own HTTP, where an app prefers it to the built-in one.
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
 * A header of a request or of an answer.
 *
 * @property name its name, in any case.
 * @property value its value.
 */
public class HttpHeader(public val name: String, public val value: String)

/**
 * A request to the server.
 *
 * @property method `GET` or `POST`.
 * @property url the whole address.
 * @property headers to be sent as they are. They carry the user's token: do not log them.
 * @property body the body as it goes over the wire, if there is one.
 * @property timeout the longest silence: until the answer begins, and between two pieces of it.
 */
public class HttpRequest(
    public val method: String,
    public val url: String,
    public val headers: List<HttpHeader>,
    public val body: ByteArray?,
    public val timeout: Duration,
)

/**
 * The server's answer.
 *
 * @property status the HTTP status, whatever it is.
 * @property headers its headers.
 * @property body the whole body, decompressed.
 */
public class HttpResponse(public val status: Int, public val headers: List<HttpHeader>, public val body: ByteArray)

/**
 * Carries requests to the server, in place of the built-in HTTP.
 *
 * With one of these the server's events are not listened to: the client asks at its interval, and when something was written.
 */
public interface HttpTransport {
    /**
     * Sends one request and takes in the whole answer, whatever its status. Follows no redirect and tries nothing twice.
     *
     * Throw [RejoinException.Offline] only where the server cannot have seen the request; [ConnectException],
     * [NoRouteToHostException] and [UnknownHostException] mean the same. Any other exception means that nobody knows: the
     * request is made again later. Cancelled when the engine has lost interest in the answer.
     */
    public suspend fun send(request: HttpRequest): HttpResponse

    /** Drops every open connection: after a suspension they are dead without knowing it. */
    public fun disconnect() {}
}

internal fun HttpTransport.toFfi(): FfiHttpTransport =
    object : FfiHttpTransport {
        override suspend fun send(request: FfiHttpRequest): FfiHttpResponse =
            answered {
                val asked =
                    HttpRequest(
                        method = request.method,
                        url = request.url,
                        headers = request.headers.map { HttpHeader(it.name, it.value) },
                        body = request.body,
                        timeout = request.timeoutMs.toLong().milliseconds,
                    )
                val answer = unreachable { this@toFfi.send(asked) }
                if (answer.status !in 0..UShort.MAX_VALUE.toInt()) {
                    throw IllegalArgumentException("${answer.status} is no HTTP status")
                }
                val headers = answer.headers.map { FfiHttpHeader(it.name, it.value) }
                FfiHttpResponse(answer.status.toUShort(), headers, answer.body)
            }

        override fun disconnect() = answered { this@toFfi.disconnect() }
    }

/** The exceptions of the JDK that are thrown before anything was sent. */
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
