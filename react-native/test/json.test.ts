/** Arguments and values of actions are encoded exactly or refused. */
import { describe, expect, test } from 'vitest';
import { InvalidInputError } from '../src/index';
import { decodeBase64, decodeJson, encodeBase64, encodeJson } from '../src/json';

const loop: Record<string, unknown> = {};
loop['deep'] = [loop];
class Own {}

test.each<[unknown, string]>([
  [null, 'null'],
  [true, 'true'],
  [7, '7'],
  [-7, '-7'],
  [1.5, '1.5'],
  [-0, '-0.0'],
  [2 ** 53 - 1, '9007199254740991'],
  [2 ** 53, '9007199254740992.0'],
  [1e300, '1e+300'],
  [5e-324, '5e-324'],
  [2n ** 63n - 1n, '9223372036854775807'],
  ['a"\\\n\u0000😀', '"a\\"\\\\\\n\\u0000😀"'],
  [new Uint8Array([1, 2]), '"AQI="'],
  [new Date(1), '"1970-01-01T00:00:00.001Z"'],
  [[1, [null]], '[1,[null]]'],
  [{ a: 1, none: undefined, 'b"': { c: [] } }, '{"a":1,"b\\"":{"c":[]}}'],
  [Object.assign(Object.create(null) as object, { a: 1 }), '{"a":1}'],
])('%s is encoded as %s', (value, text) => expect(encodeJson(value, 'it')).toBe(text));

test.each<[unknown, RegExp]>([
  [undefined, /^it is undefined/],
  [NaN, /^it is NaN/],
  [-Infinity, /^it is -Infinity/],
  [() => 1, /^it is a function/],
  [Symbol('s'), /^it is a symbol/],
  [{ a: [1, undefined] }, /^it\.a\[1\] is undefined/],
  [new Array(1), /^it\[0\] is undefined/],
  [new Date(NaN), /^it is a Date that is no instant/],
  [new Map(), /^it is a Map/],
  [new Own(), /^it is a Own/],
  [loop, /^it\.deep\[0\] holds itself/],
])('%s is refused by name', (value, message) => {
  expect(() => encodeJson(value, 'it')).toThrow(InvalidInputError);
  expect(() => encodeJson(value, 'it')).toThrow(message);
});

// Not a `test.each`: a title with half a surrogate pair makes the JSON report unreadable for most parsers.
test('half a surrogate pair is refused as text and as name', () => {
  for (const value of ['\udc00', { '\ud800': 1 }]) {
    expect(() => encodeJson(value, 'it')).toThrow(InvalidInputError);
    expect(() => encodeJson(value, 'it')).toThrow(/half a surrogate pair/);
  }
});

test('value that occurs twice without a cycle is encoded twice', () => {
  const twice = { a: 1 };
  expect(encodeJson([twice, twice], 'it')).toBe('[{"a":1},{"a":1}]');
});

describe('integers are decoded', () => {
  const text = '{"big":9007199254740993,"small":-1,"real":1.0,"much":1e20,"text":"9007199254740993 integer:9007199254740993 \\" 12345678901234567890"}';
  const plain = { small: -1, real: 1, much: 1e20, text: '9007199254740993 integer:9007199254740993 " 12345678901234567890' };

  test('auto: as numbers if exact, else as bigints', () => expect(decodeJson(text, 'auto', 'it')).toEqual({ ...plain, big: 9007199254740993n }));
  test('bigint: always as bigints', () => expect(decodeJson(text, 'bigint', 'it')).toEqual({ ...plain, big: 9007199254740993n, small: -1n }));
  test('number: as numbers or with an error', () => {
    expect(decodeJson('[1,-9007199254740991]', 'number', 'it')).toEqual([1, -9007199254740991]);
    expect(() => decodeJson(text, 'number', 'it')).toThrow(/^it: 9007199254740993 is an integer that a number would round/);
  });
  test('as a single value, and an empty text is null', () => {
    expect(decodeJson('-9223372036854775808', 'auto', 'it')).toBe(-(2n ** 63n));
    expect(decodeJson('', 'auto', 'it')).toBeNull();
  });
  test('next to a text of almost a million characters', () => {
    const long = 'x\\"'.repeat(300_000);
    expect(decodeJson(`["${long}",9007199254740993]`, 'auto', 'it')).toEqual(['x"'.repeat(300_000), 9007199254740993n]);
  });
});

test('base64 equals that of Node and decodes to the same bytes', () => {
  for (let length = 0; length < 200; length += 1) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 37 + length) & 255);
    const text = encodeBase64(bytes);
    expect(text).toBe(Buffer.from(bytes).toString('base64'));
    expect(decodeBase64(text, 'it')).toEqual(bytes);
  }
  for (const wrong of ['A', 'AA', 'AAA', '=AAA', 'AA=A', 'A===', 'AA-_', 'AAAA=', ' AAA']) {
    expect(() => decodeBase64(wrong, 'it'), wrong).toThrow(/^it is no base64/);
  }
});
