/**
 * Values of SQLite in JavaScript, and how the app's values become parameters.
 *
 * Promise: a value arrives as it was given or the call fails; no number is silently rounded, no text silently altered.
 * Border: only single values; rows are decoded in `row-buffer.ts`.
 */
import { InvalidInputError } from './errors';

/** A value as it comes out of the database: NULL, INTEGER, REAL, TEXT or BLOB. */
export type SqlValue = null | number | bigint | string | Uint8Array;

/**
 * How integers come out, of which SQLite's have 64 bits and JavaScript's numbers 53:
 *
 * - `'auto'`, the default: a number if it is exact, else a bigint. Type such a column `number | bigint`, or `number` if you know.
 * - `'number'`: always a number; one that would be rounded is an {@link InvalidInputError}.
 * - `'bigint'`: always a bigint.
 */
export type IntegerMode = 'auto' | 'number' | 'bigint';

/**
 * A value as it goes into a statement.
 *
 * - `null` is NULL; `undefined` is refused, because it is most often a mistake.
 * - `true` and `false` are the integers 1 and 0.
 * - A `number` that is a safe integer is an INTEGER; any other is a REAL: 1.5, `Infinity`, 1e300, and -0, whose sign an integer
 *   cannot hold. (A column of INTEGER affinity makes a whole REAL an integer again.) `NaN` is refused: SQLite would store NULL.
 *   {@link real} binds a whole number as a REAL.
 * - A `bigint` is an INTEGER; beyond 64 bits it is refused.
 * - A `string` is TEXT; half a surrogate pair is refused, because UTF-8 cannot hold it.
 * - A `Uint8Array` is a BLOB.
 *
 * Everything else is refused with an {@link InvalidInputError}: decide how a `Date` or an object is to be stored.
 */
export type SqlParam = SqlValue | boolean | SqlReal;

/** A number that is bound as REAL even where it is whole; made by {@link real}. */
export class SqlReal {
  /** @internal */
  constructor(readonly value: number) {}
}

/**
 * Binds a number as REAL even where it is whole.
 *
 * ```ts
 * await client.query('SELECT typeof(?), typeof(?)', [1, real(1)]); // integer, real
 * ```
 */
export function real(value: number): SqlReal {
  return new SqlReal(value);
}

/** A parameter in its class, which the border carries. */
export type Bound =
  | { readonly tag: 'null' }
  | { readonly tag: 'integer'; readonly value: bigint }
  | { readonly tag: 'real'; readonly value: number }
  | { readonly tag: 'text'; readonly value: string }
  | { readonly tag: 'blob'; readonly value: Uint8Array };

const NULL: Bound = { tag: 'null' };

/** The class that a parameter goes in as; `what` names it in the error. */
export function bind(value: SqlParam, what: string): Bound {
  switch (typeof value) {
    case 'string':
      return { tag: 'text', value: wellFormed(value, what) };
    case 'number':
      return number(value, what);
    case 'bigint':
      if (BigInt.asIntN(64, value) !== value) throw new InvalidInputError(`${what} is ${value}, which 64 bits cannot hold`);
      return { tag: 'integer', value };
    case 'boolean':
      return { tag: 'integer', value: value ? 1n : 0n };
    default:
      if (value === null) return NULL;
      if (value instanceof Uint8Array) return { tag: 'blob', value };
      if (value instanceof SqlReal) return { tag: 'real', value: notNan(value.value, what) };
      throw new InvalidInputError(`${what} is ${name(value)}; give null, a number, a bigint, a boolean, a string or a Uint8Array`);
  }
}

function number(value: number, what: string): Bound {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return { tag: 'integer', value: BigInt(value) };
  return { tag: 'real', value: notNan(value, what) };
}

function notNan(value: number, what: string): number {
  if (Number.isNaN(value)) throw new InvalidInputError(`${what} is NaN, which SQLite cannot hold`);
  return value;
}

const HALF_A_PAIR = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/;

/** The text, if UTF-8 can hold it. */
export function wellFormed(text: string, what: string): string {
  const known = text as { isWellFormed?: () => boolean };
  const good = typeof known.isWellFormed === 'function' ? known.isWellFormed() : !HALF_A_PAIR.test(text);
  if (!good) throw new InvalidInputError(`${what} holds half a surrogate pair, which UTF-8 cannot hold`);
  return text;
}

function name(value: unknown): string {
  if (value === undefined) return 'undefined';
  const made = (value as { constructor?: { name?: string } }).constructor?.name;
  return made === undefined || made === '' ? `a ${typeof value}` : `a ${made}`;
}
