/** The name of the method that `for await` calls. */

/** A string if the engine has no `Symbol.asyncIterator`, as older versions of Hermes: what Babel makes of `for await` looks for it then. */
export const asyncIterator: typeof Symbol.asyncIterator = Symbol.asyncIterator ?? ('@@asyncIterator' as never);
