/**
 * HTTP transports of the app, which replace the built-in HTTP client.
 *
 * An {@link OfflineError} means that the server has not received the request; any other error leaves that unknown. In both cases the
 * engine repeats the request, and the server recognises a repeated one. A transport follows no redirect and does not retry.
 */
import { type ffi, messageOf, thrown } from './border';
import { report } from './callback';
import { OfflineError } from './errors';
import { exactly } from './statement';

/** A request to the server. Its headers carry the user's token: do not log them. */
export interface HttpRequest {
  /** `GET` or `POST`. */
  readonly method: string;
  /** The full URL. */
  readonly url: string;
  /** Sent unchanged, in the form that `fetch` takes. */
  readonly headers: [name: string, value: string][];
  /** The body as sent, if there is one. */
  readonly body?: Uint8Array;
  /** The timeout in milliseconds, until the response begins and between two pieces of it. */
  readonly timeoutMs: number;
}

/** The server's response, of any status. */
export interface HttpResponse {
  /** The HTTP status. */
  readonly status: number;
  /** The headers, in upper or lower case. */
  readonly headers: Iterable<readonly [name: string, value: string]>;
  /** The whole body, decompressed. */
  readonly body: Uint8Array;
}

/**
 * Sends requests to the server, in place of the built-in HTTP client. With a transport the client gets no server notifications: it syncs
 * at its interval and after writes.
 */
export interface HttpTransport {
  /**
   * Sends one request and reads the whole response, of any status. Must not follow redirects or retry.
   *
   * Throw an {@link OfflineError} only if the server cannot have received the request; any other error means that this is unknown.
   *
   * @param signal aborted when the engine no longer needs the response.
   */
  send(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse>;
  /** Closes every open connection: after a suspension they no longer work. */
  disconnect?(): void;
}

/** The part of the `fetch` API that `fetchTransport` uses. */
export type Fetch = (url: string, init: FetchInit) => Promise<FetchResponse>;

/** The request options passed to `fetch`. */
export interface FetchInit {
  method: string;
  headers: [string, string][];
  body?: Uint8Array<ArrayBuffer>;
  redirect: 'manual';
  signal: AbortSignal;
}

/** The response of `fetch`. */
export interface FetchResponse {
  readonly status: number;
  readonly headers: { forEach(each: (value: string, name: string) => void): void };
  arrayBuffer(): Promise<ArrayBuffer>;
  /** The body as a stream, if the platform supports it. */
  readonly body?: { getReader?(): { read(): Promise<{ done: boolean; value?: Uint8Array | undefined }> } } | null | undefined;
}

/**
 * A transport over `fetch`.
 *
 * ```ts
 * const client = await RejoinClient.open(config, { tokens, transport: fetchTransport() });
 * ```
 *
 * `fetch` does not report whether the server received a failed request, so no failure counts as certainly offline. On platforms without
 * response streams (React Native) `timeoutMs` applies to the whole body or the whole response.
 */
export function fetchTransport(fetch: Fetch = (globalThis as unknown as { fetch: Fetch }).fetch): HttpTransport {
  const running = new Set<AbortController>();
  return {
    async send(request, signal) {
      const controller = new AbortController();
      const abort = (): void => controller.abort();
      if (signal.aborted) abort();
      signal.addEventListener('abort', abort, { once: true });
      running.add(controller);
      let timer: ReturnType<typeof setTimeout> | undefined;
      const restartTimeout = (): void => {
        clearTimeout(timer);
        timer = setTimeout(abort, request.timeoutMs);
      };
      restartTimeout();
      try {
        const answer = await fetch(request.url, {
          method: request.method,
          // The platform negotiates compression itself and may not support the engine's encodings.
          headers: request.headers.filter(([name]) => name.toLowerCase() !== 'accept-encoding'),
          ...(request.body === undefined ? {} : { body: new Uint8Array(exactly(request.body)) }),
          redirect: 'manual',
          signal: controller.signal,
        });
        restartTimeout();
        const headers: [string, string][] = [];
        answer.headers.forEach((value, name) => {
          if (!/^content-(encoding|length)$/i.test(name)) headers.push([name, value]);
        });
        return { status: answer.status, headers, body: await readBody(answer, restartTimeout) };
      } finally {
        clearTimeout(timer);
        running.delete(controller);
        signal.removeEventListener('abort', abort);
      }
    },
    disconnect() {
      for (const controller of running) controller.abort();
    },
  };
}

/** Reads the whole body and calls `onPiece` for each piece. */
async function readBody(answer: FetchResponse, onPiece: () => void): Promise<Uint8Array> {
  const reader = answer.body?.getReader?.();
  if (reader === undefined) return new Uint8Array(await answer.arrayBuffer());
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    onPiece();
    if (next.value === undefined) continue;
    pieces.push(next.value);
    length += next.value.length;
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    body.set(piece, at);
    at += piece.length;
  }
  return body;
}

/** Wraps the transport for the engine. @internal */
export function lowerTransport(transport: HttpTransport): ffi.HttpTransport {
  return {
    async send(request, options) {
      try {
        const answer = await transport.send(raiseRequest(request), options?.signal ?? new AbortController().signal);
        return lowerResponse(answer);
      } catch (error) {
        throw thrown(error);
      }
    },
    disconnect() {
      try {
        transport.disconnect?.();
      } catch (error) {
        report(error, 'disconnect of a transport');
        throw thrown(error);
      }
    },
  };
}

function raiseRequest(request: ffi.HttpRequest): HttpRequest {
  const { method, url, timeoutMs } = request;
  const headers = request.headers.map(({ name, value }): [string, string] => [name, value]);
  const body = request.body === undefined ? {} : { body: new Uint8Array(request.body) };
  return { method, url, headers, timeoutMs, ...body };
}

function lowerResponse(answer: HttpResponse): ffi.HttpResponse {
  const { status, body } = answer;
  if (!Number.isInteger(status) || status < 0 || status > 65535) throw new Error(`the status ${messageOf(status)} is none`);
  if (!(body instanceof Uint8Array)) throw new Error('the body is not a Uint8Array');
  const headers = [...answer.headers].map(([name, value]) => ({ name: String(name), value: String(value) }));
  return { status, headers, body: exactly(body) };
}

