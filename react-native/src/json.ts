/**
 * Encodes arguments and decodes values of actions as JSON, the form in which they cross the FFI boundary.
 *
 * A value is passed unchanged or the call fails: no number is silently rounded, and nothing is silently dropped. The engine checks the
 * types of parameters. Bytes are base64 with padding, in plain JavaScript, because not every JavaScript engine has functions for it.
 */
import { InvalidInputError } from './errors';
import { type IntegerMode, wellFormed } from './value';

/** Decoded JSON: a `bigint` only where a number would round the integer, or in the mode `'bigint'`. */
export type Json = null | boolean | number | bigint | string | Json[] | { [name: string]: Json };

/**
 * A value that can be an argument or the return value of an action.
 *
 * - A `number` that is a safe integer is an integer; any other number is a real. `NaN` and infinities are refused: JSON lacks them.
 * - A `bigint` is an integer.
 * - A `Uint8Array` becomes base64, a `Date` its instant as text.
 * - An object member that is `undefined` is omitted; an array element that is `undefined` is refused.
 *
 * Everything else, and a circular structure, is refused with an {@link InvalidInputError}.
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

/** Encodes a value as JSON; `what` names it in the error. @internal */
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
  // A whole number beyond the safe integers is a real, as everywhere; without `.0` the engine would read it as an integer.
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
  // A plain object of another realm has another prototype, whose own prototype is null.
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
 * Decodes JSON of the engine, with integers according to the mode.
 *
 * @throws InvalidInputError for an integer that would be rounded, in the mode `'number'`.
 * @internal
 */
export function decodeJson(text: string, integers: IntegerMode, what: string): Json {
  if (text === '') return null;
  let mark = 'integer:';
  while (text.includes(mark)) mark += ':';
  // `JSON.parse` would round these integers, so they are replaced by strings with a prefix that occurs nowhere else in the text.
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

/** Decodes an argument that is a blob. @internal */
export function decodeBytes(text: Json, what: string): Uint8Array {
  if (typeof text !== 'string') throw new InvalidInputError(`${what} is no text of base64`);
  return decodeBase64(text, what);
}

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Encodes bytes. @internal */
export function encodeBase64(bytes: Uint8Array): string {
  const texts: string[] = [];
  for (let at = 0; at < bytes.length; at += 3) {
    const [one = 0, two = 0, three = 0] = [bytes[at], bytes[at + 1], bytes[at + 2]];
    const bits = (one << 16) | (two << 8) | three;
    const left = bytes.length - at;
    const digit = (shift: number): string => DIGITS.charAt((bits >> shift) & 63);
    texts.push(digit(18) + digit(12) + (left > 1 ? digit(6) : '=') + (left > 2 ? digit(0) : '='));
  }
  return texts.join('');
}

/** Decodes a text. @throws InvalidInputError if it is not base64. @internal */
export function decodeBase64(text: string, what: string): Uint8Array {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) throw new InvalidInputError(`${what} is no base64`);
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  for (let at = 0, to = 0; at < text.length; at += 4) {
    let bits = 0;
    for (let digit = 0; digit < 4; digit += 1) bits = (bits << 6) | Math.max(0, DIGITS.indexOf(text.charAt(at + digit)));
    for (let shift = 16; shift >= 0; shift -= 8, to += 1) if (to < bytes.length) bytes[to] = (bits >> shift) & 255;
  }
  return bytes;
}
