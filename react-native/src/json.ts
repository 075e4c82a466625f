/**
 * Arguments and values of actions as JSON, which is how they cross.
 *
 * Promise: a value arrives as it was given or the call fails; no number is silently rounded, nothing is silently left out.
 * Border: which parameter takes what is judged by the engine.
 */
import { decodeBase64, encodeBase64 } from './base64';
import { InvalidInputError } from './errors';
import { type IntegerMode, wellFormed } from './value';

/** JSON as it comes out: a `bigint` only where an integer would be rounded as a number, or where bigints were asked for. */
export type Json = null | boolean | number | bigint | string | Json[] | { [name: string]: Json };

/**
 * What can go in as an argument, or be the value of an action.
 *
 * - A `number` that is a safe integer is an integer; any other number is a real. `NaN` and infinities are refused, which JSON has not.
 * - A `bigint` is an integer.
 * - A `Uint8Array` is its base64, a `Date` its instant as text.
 * - A member that is `undefined` is left out; an element that is, is refused.
 *
 * Everything else, and what holds itself, is refused with an {@link InvalidInputError}.
 */
export type JsonParam =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Date
  | readonly JsonParam[]
  | { readonly [name: string]: JsonParam | undefined };

/** A value as JSON; `what` names it in the error. @internal */
export function encodeJson(value: unknown, what: string, within: readonly unknown[] = []): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(wellFormed(value, what));
    case 'boolean':
      return String(value);
    case 'bigint':
      return value.toString();
    case 'number':
      return encodeNumber(value, what);
    case 'object':
      return value === null ? 'null' : encodeObject(value, what, within);
    default:
      throw new InvalidInputError(`${what} is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}, which JSON cannot hold`);
  }
}

function encodeNumber(value: number, what: string): string {
  if (!Number.isFinite(value)) throw new InvalidInputError(`${what} is ${value}, which JSON cannot hold`);
  if (Object.is(value, -0)) return '-0.0';
  const digits = JSON.stringify(value);
  // Whole and beyond what is exact: a real, as everywhere; or an integer would be made of it that nobody gave.
  return Number.isInteger(value) && !Number.isSafeInteger(value) && !digits.includes('e') ? `${digits}.0` : digits;
}

function encodeObject(value: object, what: string, within: readonly unknown[]): string {
  if (within.includes(value)) throw new InvalidInputError(`${what} holds itself, which JSON cannot`);
  if (value instanceof Uint8Array) return `"${encodeBase64(value)}"`;
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new InvalidInputError(`${what} is a Date that is no instant`);
    return JSON.stringify(value);
  }
  const deeper = [...within, value];
  if (Array.isArray(value)) {
    const elements = Array.from(value as unknown[], (element, at) => encodeJson(element, `${what}[${at}]`, deeper));
    return `[${elements.join(',')}]`;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  // Of another realm a plain object has another prototype, whose own prototype is null.
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    const made = (value as { constructor?: { name?: string } }).constructor?.name ?? 'object';
    throw new InvalidInputError(`${what} is a ${made}; give plain objects, arrays, texts, numbers, Dates or bytes`);
  }
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members.map(([name, member]) => `${JSON.stringify(wellFormed(name, `a name in ${what}`))}:${encodeJson(member, `${what}.${name}`, deeper)}`).join(',')}}`;
}

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const WHOLE = /^-?\d+$/;

/**
 * JSON of the engine's, its integers as the mode says.
 *
 * @throws InvalidInputError for an integer that would be rounded, in the mode `'number'`.
 * @internal
 */
export function decodeJson(text: string, integers: IntegerMode, what: string): Json {
  if (text === '') return null;
  let mark = 'integer:';
  while (text.includes(mark)) mark += ':';
  // The parser would round them, so it is shown texts that nothing else in there begins with.
  const marked = text.replace(TOKEN, (token) => (isExact(token, integers) ? token : `"${mark}${token}"`));
  if (marked === text) return JSON.parse(text) as Json;
  return JSON.parse(marked, (_, value: unknown) => {
    if (typeof value !== 'string' || !value.startsWith(mark)) return value;
    const digits = value.slice(mark.length);
    if (integers === 'number') throw new InvalidInputError(`${what}: ${digits} is an integer that a number would round; ask for bigints`);
    return BigInt(digits);
  }) as Json;
}

function isExact(token: string, integers: IntegerMode): boolean {
  return !WHOLE.test(token) || (integers !== 'bigint' && Number.isSafeInteger(Number(token)));
}

/** The bytes of an argument that is a blob. @internal */
export function decodeBytes(text: Json, what: string): Uint8Array {
  if (typeof text !== 'string') throw new InvalidInputError(`${what} is no text of base64`);
  return decodeBase64(text, what);
}
