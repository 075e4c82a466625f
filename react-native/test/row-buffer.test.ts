/** Row buffers: every vector, every truncation and flipped bits, with and without the host's decoders. */
import { describe, expect, test } from 'vitest';
import { InternalError, InvalidInputError, RejoinError } from '../src/errors';
import { RowBuffer } from '../src/row-buffer';
import type { Host } from '../src/text';
import { damages, readable, type Vector } from './support/vectors';

const HOSTS: [string, Host][] = [
  ['with all decoders of Node', globalThis as Host],
  ['with TextDecoder only', { TextDecoder: globalThis.TextDecoder as Host['TextDecoder'] }],
  ['in plain JavaScript', {}],
];

const vector = (name: string): Vector => {
  const found = readable.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no vector ${name}`);
  return found;
};

/** The expected row: of two columns with the same name, the first. */
function row(columns: readonly string[], cells: readonly unknown[]): Record<string, unknown> {
  return Object.fromEntries(columns.map((name) => [name, cells[columns.indexOf(name)]]));
}

describe.each(HOSTS)('%s', (_, host) => {
  test.each(readable)('a vector is read: $name', ({ bytes, columns, rows }) => {
    const buffer = new RowBuffer(bytes, {}, host);
    expect(buffer.columns).toEqual(columns);
    expect(buffer.length).toBe(rows.length);
    const all = buffer.toArray();
    // Compares small results as a whole, which gives better messages, and all results value by value.
    if (bytes.length < 2000) expect(all).toEqual(rows.map((cells) => row(columns, cells)));
    const wrong = all.findIndex((found, at) => columns.some((name) => !same(found[name], row(columns, rows[at] ?? [])[name])));
    expect(wrong).toBe(-1);
  });

  test.each(damages)('damage is an error: $name', ({ bytes, found }) => {
    const open = () => new RowBuffer(bytes, {}, host);
    if (found === 'open') expect(open).toThrow(InternalError);
    else expect(() => open().at(0)).toThrow(RejoinError);
  });
});

/** `Object.is`, except for bytes, which are compared by content. */
function same(one: unknown, other: unknown): boolean {
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other) === 0;
  return Object.is(one, other);
}

const SMALL = readable.filter(({ bytes }) => bytes.length < 2000);

test.each(SMALL)('truncated buffer is an error: $name', ({ bytes }) => {
  for (let length = 0; length < bytes.length; length += 1) {
    expect(() => new RowBuffer(bytes.slice(0, length)), `cut to ${length}`).toThrow(InternalError);
  }
});

test.each(SMALL)('flipped bit gives rows or a RejoinError: $name', ({ bytes }) => {
  let [read, refused] = [0, 0];
  for (let bit = 0; bit < bytes.length * 8; bit += 1) {
    const flipped = bytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    try {
      new RowBuffer(flipped).toArray();
      read += 1;
    } catch (error) {
      if (!(error instanceof RejoinError)) throw error;
      refused += 1;
    }
  }
  expect(read + refused).toBe(bytes.length * 8);
  expect(refused).toBeGreaterThan(0);
});

test('cells, rows and iteration return the same values', () => {
  for (const { bytes, columns, rows } of SMALL) {
    const buffer = new RowBuffer(bytes);
    expect([...buffer]).toEqual(buffer.toArray());
    for (let at = rows.length - 1; at >= 0; at -= 1) {
      expect(buffer.at(at)).toEqual(row(columns, rows[at] ?? []));
      for (let column = columns.length - 1; column >= 0; column -= 1) {
        expect(buffer.cell(at, column)).toEqual(rows[at]?.[column]);
      }
    }
  }
});

test('buffer is read at any offset of its memory', () => {
  const { bytes, columns, rows } = vector('unicode, in names too');
  for (let offset = 0; offset < 8; offset += 1) {
    const memory = new Uint8Array(bytes.length + 16).fill(0xff);
    memory.set(bytes, offset);
    const buffer = new RowBuffer(memory.subarray(offset, offset + bytes.length));
    expect(buffer.at(0)).toEqual(row(columns, rows[0] ?? []));
  }
});

describe('integers', () => {
  const { bytes, rows } = vector('integers at the edge of each width');
  const exact = rows.map(([cell]) => BigInt(cell as number | bigint));

  test('are numbers if exact, else bigints', () => {
    const read = new RowBuffer<{ n: number | bigint }>(bytes).toArray().map(({ n }) => n);
    expect(read.map(BigInt)).toEqual(exact);
    for (const n of read) expect(typeof n).toBe(Number.isSafeInteger(Number(n)) ? 'number' : 'bigint');
  });

  test('are all bigints in the mode bigint', () => {
    const read = new RowBuffer<{ n: bigint }>(bytes, { integers: 'bigint' }).toArray().map(({ n }) => n);
    expect(read).toEqual(exact);
  });

  test('inexact number is an error that names the column', () => {
    const buffer = new RowBuffer<{ n: number }>(bytes, { integers: 'number' });
    exact.forEach((n, at) => {
      if (Number.isSafeInteger(Number(n))) expect(buffer.at(at)?.n).toBe(Number(n));
      else expect(() => buffer.at(at)).toThrow(InvalidInputError);
    });
    expect(() => buffer.toArray()).toThrow(/column n holds/);
  });
});

test('column names are read in linear time', () => {
  const count = 300_000;
  const bytes = Buffer.alloc(20 + 10 * count);
  bytes.write('RJB1');
  bytes.writeUInt32LE(count, 4);
  bytes.writeUInt32LE(10 * count, 12);
  for (let at = 20, name = 0; at < bytes.length; at += 10, name += 1) {
    bytes.writeUInt32LE(6, at);
    bytes.write(String(name).padStart(6, '0'), at + 4);
  }
  const begin = performance.now();
  expect(new RowBuffer(bytes).columns[count - 1]).toBe('299999');
  // A quadratic comparison of names would take 4.5 * 10^10 steps.
  expect(performance.now() - begin).toBeLessThan(10_000);
});

test('missing row is undefined and missing cell an error', () => {
  const { bytes } = vector('two columns of one name');
  const buffer = new RowBuffer(bytes);
  for (const at of [-1, 1, 0.5, Number.NaN]) expect(buffer.at(at)).toBeUndefined();
  expect(() => buffer.cell(1, 0)).toThrow(/no row 1 among 1/);
  expect(() => buffer.cell(0, 2)).toThrow(/no column 2 among id, id/);
  for (const at of [-1, 0.5, Number.NaN]) {
    expect(() => buffer.cell(at, 0)).toThrow(`no row ${at} among 1`);
    expect(() => buffer.cell(0, at)).toThrow(`no column ${at} among id, id`);
  }
  expect(() => buffer.cell(0, 'name')).toThrow(InvalidInputError);
  expect(buffer.cell(0, 'id')).toBe(1);
  expect(buffer.cell(0, 1)).toBe('second');
});

/** A buffer of equal rows whose cells are the indexes of their columns. */
function numbered(names: readonly string[], rows: number): Uint8Array {
  const u32 = (...numbers: number[]): Buffer => Buffer.from(Uint32Array.from(numbers).buffer);
  const texts = names.map((name) => Buffer.from(name));
  const block = Buffer.concat(texts.flatMap((text) => [u32(text.length), text]));
  const row = Buffer.from(names.flatMap((_, column) => [1, column % 100]));
  const header = u32(0x31424a52, names.length, rows, block.length, row.length * rows);
  const index = u32(...Array.from({ length: rows }, (_, at) => at * row.length));
  return new Uint8Array(Buffer.concat([header, block, ...Array.from({ length: rows }, () => row), index]));
}

test.each<[string, string[]]>([
  ['duplicate name', ['id', 'id', 'n']],
  ['__proto__', ['id', '__proto__']],
  ['names with code characters', ['"', "'", '`', '\\', '${1}', '];}//', '\n', '\u2028', '\u0000', '', 'a b', '日本']],
  ['names of JavaScript properties', ['constructor', 'toString', 'class', '1', '0', 'hasOwnProperty', 'cells']],
  ['many names', Array.from({ length: 200 }, (_, at) => `column ${at}`)],
])('rows are plain objects for any column name: %s', (_, names) => {
  const expected = Object.entries(Object.fromEntries([...names].reverse().map((name) => [name, names.indexOf(name) % 100])));
  for (const count of [1, 31, 32, 1000]) {
    const rows = new RowBuffer(numbered(names, count)).toArray();
    expect(rows.length).toBe(count);
    for (const found of [rows[0], rows.at(-1)]) {
      expect(Object.entries(found ?? {}).sort()).toEqual(expected.sort());
      expect(Object.getPrototypeOf(found)).toBe(Object.prototype);
    }
  }
});

test('blob is a copy and does not keep the result alive', () => {
  const { bytes } = vector('bytes with zeros and of no encoding');
  const blob = new RowBuffer<{ b: Uint8Array }>(bytes).at(0)?.b;
  expect(blob?.buffer.byteLength).toBe(16);
});
