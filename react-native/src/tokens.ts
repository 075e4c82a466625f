/**
 * The app's token provider.
 *
 * If it throws or returns an invalid value, syncing waits, and local reads and writes continue.
 */
import { type ffi, thrown } from './border';

/** Returns the user's token. */
export interface TokenProvider {
  /**
   * The token to send as `Authorization: Bearer`, or null or undefined if no user is signed in.
   *
   * ```ts
   * const tokens: TokenProvider = {
   *   token: async (refresh) => (refresh ? await session.refresh() : session.token),
   * };
   * ```
   *
   * Called at the start of each sync with `refresh` false: return a cached token. `refresh` is true after the server has rejected the last
   * token: get a new one. After an error, or without a result within a minute, the engine calls it again later.
   *
   * @param signal aborted when the engine no longer needs the result.
   */
  token(refresh: boolean, signal: AbortSignal): Promise<string | null | undefined> | string | null | undefined;

  /**
   * The user id of a token of this provider, or null or undefined if it is not known.
   *
   * Called only for a token that is not a JWT with a `sub`. A plain Synchro server does not return the user of a token, so without a result
   * nothing is synced with it. A Rejoin server returns the user.
   *
   * @param token a result of `token`.
   * @param signal aborted when the engine no longer needs the result.
   */
  subject?(token: string, signal: AbortSignal): Promise<string | null | undefined> | string | null | undefined;
}

/**
 * A token provider that is only a function, as {@link TokenProvider.token}: `tokens: (refresh) => session.token(refresh)`.
 *
 * Use the interface if a plain Synchro server needs the user of a token that is not a JWT.
 */
export type TokenFunction = TokenProvider['token'];

/** The provider's result, checked: a string or undefined. */
async function text(what: string, call: () => unknown): Promise<string | undefined> {
  try {
    const result = await call();
    if (result === null || result === undefined) return undefined;
    if (typeof result !== 'string') throw new Error(`the token provider returned a ${typeof result} as the ${what}, not a string`);
    return result;
  } catch (error) {
    throw thrown(error);
  }
}

/** Wraps the provider for the engine. @internal */
export function lowerTokens(given: TokenProvider | TokenFunction): ffi.TokenProvider {
  const tokens: TokenProvider = typeof given === 'function' ? { token: given } : given;
  const signal = (options?: { signal: AbortSignal }): AbortSignal => options?.signal ?? new AbortController().signal;
  return {
    token: (refresh, options) => text('token', () => tokens.token(refresh, signal(options))),
    subject: (token, options) => text('user', () => tokens.subject?.(token, signal(options))),
  };
}
