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
}

/** The provider as the engine calls it. @internal */
export function lowerTokens(tokens: TokenProvider): ffi.TokenProvider {
  return {
    async token(refresh, options) {
      try {
        const token: unknown = await tokens.token(refresh, options?.signal ?? new AbortController().signal);
        if (token === null || token === undefined) return undefined;
        if (typeof token !== 'string') throw new Error(`the token provider gave a ${typeof token}, not a string`);
        return token;
      } catch (error) {
        throw thrown(error);
      }
    },
  };
}
