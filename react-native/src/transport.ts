/**
 * The platform's own HTTP, where an app prefers it to the built-in one.
 *
 * Promise: what a transport throws is "nobody knows what the server saw", unless it is an {@link OfflineError}; either way the
 * request is made again, and the server recognises what it has seen.
 * Border: what is requested is the engine's affair; it never follows a redirect and never tries twice by itself.
 */
import { exactly, type ffi, thrown, words } from './border';
import { report } from './callback';
import { OfflineError } from './errors';

/** A request to the server. Its headers carry the user's token: do not log them. */
export interface HttpRequest {
  /** `GET` or `POST`. */
  readonly method: string;
  /** The whole address. */
  readonly url: string;
  /** To be sent as they are, in the form that `fetch` takes. */
  readonly headers: [name: string, value: string][];
  /** The body as it goes over the wire, if there is one. */
  readonly body?: Uint8Array;
  /** The longest silence, in milliseconds: until the answer begins, and between two pieces of it. */
  readonly timeoutMs: number;
}

/** The server's answer, whatever its status. */
export interface HttpResponse {
  /** The HTTP status. */
  readonly status: number;
  /** Its headers, in any case. */
  readonly headers: Iterable<readonly [name: string, value: string]>;
  /** The whole body, decompressed. */
  readonly body: Uint8Array;
}

/**
 * Carries requests to the server, in place of the built-in HTTP. With one of these the server's events are not listened to: the client
 * asks at its interval, and when something was written.
 */
export interface HttpTransport {
  /**
   * Sends one request and takes in the whole answer, whatever its status. Follows no redirect and tries nothing twice.
   *
   * Throw an {@link OfflineError} only where the server cannot have seen the request; any other error means that nobody knows.
   *
   * @param signal aborted when the engine no longer wants the answer.
   */
  send(request: HttpRequest, signal: AbortSignal): Promise<HttpResponse>;
  /** Drops every open connection: after a suspension they are dead without knowing it. */
  disconnect?(): void;
}

/** What `fetchTransport` needs of `fetch`; the platform's is one. */
export type Fetch = (url: string, init: FetchInit) => Promise<FetchResponse>;

/** What is asked of `fetch`. */
export interface FetchInit {
  method: string;
  headers: [string, string][];
  body?: Uint8Array<ArrayBuffer>;
  redirect: 'manual';
  signal: AbortSignal;
}

/** What `fetch` answers. */
export interface FetchResponse {
  readonly status: number;
  readonly headers: { forEach(each: (value: string, name: string) => void): void };
  arrayBuffer(): Promise<ArrayBuffer>;
  /** The body piece by piece, where the platform has that. */
  readonly body?: { getReader?(): { read(): Promise<{ done: boolean; value?: Uint8Array | undefined }> } } | null | undefined;
}

/**
 * A transport over `fetch`.
 *
 * ```ts
 * const client = await RejoinClient.open(config, { tokens, transport: fetchTransport() });
 * ```
 *
 * `fetch` does not say whether the server has seen a request that failed, so no failure counts as certainly offline. Where its bodies
 * are no streams (React Native's are not), it is silent until all is there: then `timeoutMs` is for the whole body, or the whole answer.
 */
export function fetchTransport(fetch: Fetch = (globalThis as unknown as { fetch: Fetch }).fetch): HttpTransport {
  const underWay = new Set<AbortController>();
  return {
    async send(request, signal) {
      const controller = new AbortController();
      const abort = (): void => controller.abort();
      if (signal.aborted) abort();
      signal.addEventListener('abort', abort, { once: true });
      underWay.add(controller);
      let timer: ReturnType<typeof setTimeout> | undefined;
      /** Something was heard: the silence begins anew. */
      const heard = (): void => {
        clearTimeout(timer);
        timer = setTimeout(abort, request.timeoutMs);
      };
      heard();
      try {
        const answer = await fetch(request.url, {
          method: request.method,
          // The platform compresses and decompresses as it can, which is not as the engine would.
          headers: request.headers.filter(([name]) => name.toLowerCase() !== 'accept-encoding'),
          ...(request.body === undefined ? {} : { body: new Uint8Array(exactly(request.body)) }),
          redirect: 'manual',
          signal: controller.signal,
        });
        heard();
        const headers: [string, string][] = [];
        answer.headers.forEach((value, name) => {
          if (!/^content-(encoding|length)$/i.test(name)) headers.push([name, value]);
        });
        return { status: answer.status, headers, body: await whole(answer, heard) };
      } finally {
        clearTimeout(timer);
        underWay.delete(controller);
        signal.removeEventListener('abort', abort);
      }
    },
    disconnect() {
      for (const controller of underWay) controller.abort();
    },
  };
}

/** The whole body, and a word to `heard` for each piece of it. */
async function whole(answer: FetchResponse, heard: () => void): Promise<Uint8Array> {
  const reader = answer.body?.getReader?.();
  if (reader === undefined) return new Uint8Array(await answer.arrayBuffer());
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    heard();
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

/** The transport as the engine calls it. @internal */
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
  if (!Number.isInteger(status) || status < 0 || status > 65535) throw new Error(`the status ${words(status)} is none`);
  if (!(body instanceof Uint8Array)) throw new Error('the body is not a Uint8Array');
  const headers = [...answer.headers].map(([name, value]) => ({ name: String(name), value: String(value) }));
  return { status, headers, body: exactly(body) };
}

