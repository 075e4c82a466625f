/**
 * Base64 with padding in plain JavaScript, because not every JavaScript engine has functions for it.
 */
import { InvalidInputError } from './errors';

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
