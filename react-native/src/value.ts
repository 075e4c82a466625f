/**
 * SQLite values in JavaScript, and the conversion of the app's values to parameters.
 *
 * A value is passed unchanged or the call fails: no number is silently rounded, and no text is silently altered. Rows are decoded in
 * `row-buffer.ts`.
 */
import { InvalidInputError } from './errors';

/**
 * A value read from the database: NULL, INTEGER, REAL, TEXT or BLOB. A 0 or 1 of a column that is declared BOOLEAN is a boolean, as in
 * synced tables whose schema says so; the value of an expression is not.
 */
export type SqlValue = null | boolean | number | bigint | string | Uint8Array;

/**
 * How integers are decoded. SQLite integers have 64 bits, JavaScript numbers hold 53.
 *
 * - `'auto'`, the default: a number if that is exact, else a bigint. Type such a column `number | bigint`, or `number` if its values fit.
 * - `'number'`: always a number; an integer that would be rounded is an {@link InvalidInputError}.
 * - `'bigint'`: always a bigint.
 */
export type IntegerMode = 'auto' | 'number' | 'bigint';

/**
 * A parameter of a statement.
 *
 * - `null` is NULL; `undefined` is refused, because it is usually a mistake.
 * - `true` and `false` are the integers 1 and 0.
 * - A `number` that is a safe integer is an INTEGER; any other is a REAL: 1.5, `Infinity`, 1e300, and -0, whose sign an integer
 *   cannot hold. (A column of INTEGER affinity converts a whole REAL to an integer.) `NaN` is refused: SQLite would store NULL.
 *   {@link real} binds a whole number as a REAL.
 * - A `bigint` is an INTEGER; beyond 64 bits it is refused.
 * - A `string` is TEXT; half a surrogate pair is refused, because UTF-8 cannot hold it.
 * - A `Uint8Array` is a BLOB.
 *
 * Everything else, such as a `Date` or an object, is refused with an {@link InvalidInputError}: convert it first.
 */
export type SqlParam = SqlValue | SqlReal;

/** A number that is bound as REAL even if it is whole; created by {@link real}. */
export class SqlReal {
  /** @internal */
  constructor(readonly value: number) {}
}

/**
 * Binds a number as REAL even if it is whole.
 *
 * ```ts
 * await client.query('SELECT typeof(?), typeof(?)', [1, real(1)]); // integer, real
 * ```
 */
export function real(value: number): SqlReal {
  return new SqlReal(value);
}

/** A parameter with its storage class, as passed to the engine. */
export type Bound =
  | { readonly tag: 'null' }
  | { readonly tag: 'integer'; readonly value: bigint }
  | { readonly tag: 'real'; readonly value: number }
  | { readonly tag: 'text'; readonly value: string }
  | { readonly tag: 'blob'; readonly value: Uint8Array };

const NULL: Bound = { tag: 'null' };

/** Determines the storage class of a parameter; `what` names it in the error. */
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

/** Returns the text if it is valid Unicode, which UTF-8 can encode. */
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
