/**
 * The app's token provider, as the engine asks it.
 *
 * Promise: whatever it throws or gives, syncing waits and local work goes on.
 * Border: what a token is good for is between the app and its server.
 */
import { type ffi, thrown } from './border';

/** Gives the token that names the user. */
export interface TokenProvider {
  /**
   * The token to send as `Authorization: Bearer`, or nothing when nobody is signed in.
   *
   * ```ts
   * const tokens: TokenProvider = {
   *   token: async (refresh) => (refresh ? await session.refresh() : session.token),
   * };
   * ```
   *
   * Asked at the start of each pass with `refresh` false: answer from memory. With `refresh` true the server has refused the last
   * one: get a new one. An error means "not now", and it is asked again later; so does no answer within a minute.
   *
   * @param signal aborted when the engine no longer wants the answer.
   */
  token(refresh: boolean, signal: AbortSignal): Promise<string | null | undefined> | string | null | undefined;

  /**
   * The user that a token of this provider names, or nothing if that is not known.
   *
   * Asked only for a token that is no JWT with a `sub`. A plain Synchro server never says whose a token is: without an answer
   * nothing is synced with one. A Rejoin server says it itself.
   *
   * @param token one that `token` gave.
   * @param signal aborted when the engine no longer wants the answer.
   */
  subject?(token: string, signal: AbortSignal): Promise<string | null | undefined> | string | null | undefined;
}

/** What the provider gave: a text, or nothing. */
async function text(what: string, asked: () => unknown): Promise<string | undefined> {
  try {
    const given = await asked();
    if (given === null || given === undefined) return undefined;
    if (typeof given !== 'string') throw new Error(`the token provider gave a ${typeof given} as the ${what}, not a string`);
    return given;
  } catch (error) {
    throw thrown(error);
  }
}

/** The provider as the engine calls it. @internal */
export function lowerTokens(tokens: TokenProvider): ffi.TokenProvider {
  const signal = (options?: { signal: AbortSignal }): AbortSignal => options?.signal ?? new AbortController().signal;
  return {
    token: (refresh, options) => text('token', () => tokens.token(refresh, signal(options))),
    subject: (token, options) => text('user', () => tokens.subject?.(token, signal(options))),
  };
}
