/** Timeouts of the transport over `fetch`, with a fake clock. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Fetch, fetchTransport, type HttpResponse } from '../src/index';
import { gate } from './support/world';

const TIMEOUT = 10_000;
const REQUEST = { method: 'GET', url: 'http://127.0.0.1:9/', headers: [], timeoutMs: TIMEOUT } as const;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

type Piece = { done: boolean; value?: Uint8Array };

/** A `fetch` whose response the test controls; an aborted request fails. */
function slow(): { fetch: Fetch; headers: () => Promise<void>; piece: (piece: Piece) => Promise<void> } {
  const begun = gate();
  let next = gate<Piece>();
  const unless = <T>(promise: Promise<T>, signal: AbortSignal): Promise<T> =>
    new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('aborted')));
      promise.then(resolve, reject);
    });
  const fetch: Fetch = async (_, { signal }) => {
    await unless(begun.promise, signal);
    const read = (): Promise<Piece> => unless(next.promise, signal);
    return {
      status: 200,
      headers: { forEach: () => undefined },
      arrayBuffer: () => Promise.reject(new Error('the body is a stream')),
      body: { getReader: () => ({ read }) },
    };
  };
  const settle = (): Promise<void> => vi.advanceTimersByTimeAsync(0).then(() => undefined);
  return {
    fetch,
    headers: () => (begun.open(), settle()),
    piece: (piece) => {
      const last = next;
      next = gate<Piece>();
      last.open(piece);
      return settle();
    },
  };
}

function send(fetch: Fetch): Promise<HttpResponse | Error> {
  const sent = fetchTransport(fetch).send({ ...REQUEST, headers: [] }, new AbortController().signal);
  return sent.catch((error: Error) => error);
}

test('long response succeeds if each pause is short', async () => {
  const { fetch, headers, piece } = slow();
  const answer = send(fetch);
  await vi.advanceTimersByTimeAsync(TIMEOUT - 1);
  await headers();
  for (const byte of [1, 2, 3]) {
    await vi.advanceTimersByTimeAsync(TIMEOUT - 1);
    await piece({ done: false, value: Uint8Array.of(byte, byte) });
  }
  await piece({ done: true });
  expect(await answer).toEqual({ status: 200, headers: [], body: Uint8Array.of(1, 1, 2, 2, 3, 3) });
  expect(vi.getTimerCount()).toBe(0);
});

test('long pause ends the request before and within the body', async () => {
  for (const begun of [false, true]) {
    const { fetch, headers, piece } = slow();
    const answer = send(fetch);
    if (begun) {
      await headers();
      await piece({ done: false, value: Uint8Array.of(1) });
    }
    await vi.advanceTimersByTimeAsync(TIMEOUT);
    expect(await answer).toEqual(new Error('aborted'));
    expect(vi.getTimerCount()).toBe(0);
  }
});
