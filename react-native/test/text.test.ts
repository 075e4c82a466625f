/** The decoder of this package and the host's agree on every kind of byte sequence. */
import { expect, test } from 'vitest';
import { decodeUtf8, type Host, Texts } from '../src/text';

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function expected(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}

test('every character is decoded as by the host', () => {
  for (let point = 0; point <= 0x10ffff; point += point < 0x3000 ? 1 : 127) {
    if (point >= 0xd800 && point <= 0xdfff) continue;
    const text = String.fromCodePoint(point);
    const bytes = new TextEncoder().encode(text);
    expect(decodeUtf8(bytes, 0, bytes.length)).toBe(text);
  }
});

test('every prefix is decoded or refused as by the host', () => {
  const wrong: string[] = [];
  const check = (...sequence: number[]) => {
    const bytes = Uint8Array.from(sequence);
    if (decodeUtf8(bytes, 0, bytes.length) !== expected(bytes)) wrong.push(sequence.map((byte) => byte.toString(16)).join(' '));
  };
  for (let first = 0; first < 256; first += 1) {
    check(first);
    for (let second = 0; second < 256; second += 1) {
      check(first, second);
      check(first, second, 0x80);
      check(first, second, 0x80, 0x80);
      check(0x41, first, second, 0xbf, 0xbf, 0x42);
    }
  }
  expect(wrong).toEqual([]);
});

test('texts around the size limits are decoded on every host', () => {
  const pieces = ['a', 'bc', 'é', '日本', '😀', 'x'.repeat(47), 'y'.repeat(511), 'z'.repeat(5000), 'é'.repeat(5000), '\u0000', '\ufeff'];
  const texts: string[] = [];
  for (const one of pieces) for (const other of pieces) texts.push(one + other, one + other + one);
  const encoded = texts.map((text) => new TextEncoder().encode(text));
  const all = Buffer.concat(encoded);
  const hosts: Host[] = [globalThis as Host, { TextDecoder: TextDecoder as Host['TextDecoder'] }, {}];
  for (const host of hosts) {
    const read = new Texts(new Uint8Array(all), host);
    const places: [number, number, string][] = [];
    let at = 0;
    encoded.forEach((bytes, number) => {
      places.push([at, at + bytes.length, texts[number] ?? '']);
      at += bytes.length;
    });
    for (const [start, end, text] of [...places, ...[...places].reverse()]) {
      if (read.at(start, end) !== text) expect.fail(`${text.slice(0, 20)} at ${start}`);
    }
  }
});

test('lenient decoder of the host is not used', () => {
  class Replacing {
    decode(bytes: Uint8Array): string {
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    }
  }
  const bytes = new Uint8Array(100).fill(0xc3);
  expect(new Texts(bytes, { TextDecoder: Replacing }).at(0, 100)).toBeUndefined();
});
