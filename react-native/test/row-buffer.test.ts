/** Row buffers: every vector, every cut, flipped bits, with and without the host's help. */
import { describe, expect, test } from 'vitest';
import { InternalError, InvalidInputError, RejoinError } from '../src/errors';
import { RowBuffer } from '../src/row-buffer';
import type { Host } from '../src/text';
import { damages, readable, type Vector } from './support/vectors';

const HOSTS: [string, Host][] = [
  ['with all that Node has', globalThis as Host],
  ['with TextDecoder alone', { TextDecoder: globalThis.TextDecoder as Host['TextDecoder'] }],
  ['with the language alone', {}],
];

const vector = (name: string): Vector => {
  const found = readable.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no vector ${name}`);
  return found;
};

/** A row as it should come out: of two columns with one name, the first. */
function row(columns: readonly string[], cells: readonly unknown[]): Record<string, unknown> {
  return Object.fromEntries(columns.map((name) => [name, cells[columns.indexOf(name)]]));
}

describe.each(HOSTS)('%s', (_, host) => {
  test.each(readable)('a vector is read: $name', ({ bytes, columns, rows }) => {
    const buffer = new RowBuffer(bytes, {}, host);
    expect(buffer.columns).toEqual(columns);
    expect(buffer.length).toBe(rows.length);
    const all = buffer.toArray();
    // Compared as a whole where that is quick, and one by one where it is not.
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

/** `Object.is` for all but bytes. */
function same(one: unknown, other: unknown): boolean {
  if (one instanceof Uint8Array && other instanceof Uint8Array) return Buffer.compare(one, other) === 0;
  return Object.is(one, other);
}

const SMALL = readable.filter(({ bytes }) => bytes.length < 2000);

test.each(SMALL)('a buffer that is cut anywhere is an error: $name', ({ bytes }) => {
  for (let length = 0; length < bytes.length; length += 1) {
    expect(() => new RowBuffer(bytes.slice(0, length)), `cut to ${length}`).toThrow(InternalError);
  }
});

test.each(SMALL)('a flipped bit gives other rows or an error, nothing else: $name', ({ bytes }) => {
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

test('cells, rows and iteration agree with the whole, in any order', () => {
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

test('a buffer may begin anywhere in its memory', () => {
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

  test('are numbers where those are exact, else bigints', () => {
    const read = new RowBuffer<{ n: number | bigint }>(bytes).toArray().map(({ n }) => n);
    expect(read.map(BigInt)).toEqual(exact);
    for (const n of read) expect(typeof n).toBe(Number.isSafeInteger(Number(n)) ? 'number' : 'bigint');
  });

  test('are all bigints if one asks for that', () => {
    const read = new RowBuffer<{ n: bigint }>(bytes, { integers: 'bigint' }).toArray().map(({ n }) => n);
    expect(read).toEqual(exact);
  });

  test('are never rounded: as numbers, one that does not fit is an error that names the column', () => {
    const buffer = new RowBuffer<{ n: number }>(bytes, { integers: 'number' });
    exact.forEach((n, at) => {
      if (Number.isSafeInteger(Number(n))) expect(buffer.at(at)?.n).toBe(Number(n));
      else expect(() => buffer.at(at)).toThrow(InvalidInputError);
    });
    expect(() => buffer.toArray()).toThrow(/column n holds/);
  });
});

test('a buffer of nothing but names is looked at in a time that grows with their number only', () => {
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
  // Each name against each before it would be 4.5 * 10^10 comparisons.
  expect(performance.now() - begin).toBeLessThan(10_000);
});

test('what is not there is undefined, or an error that names it', () => {
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

/** A buffer of so many rows, whose cells are the numbers of their columns. */
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
  ['two of one name', ['id', 'id', 'n']],
  ['__proto__', ['id', '__proto__']],
  ['names that are code', ['"', "'", '`', '\\', '${1}', '];}//', '\n', '\u2028', '\u0000', '', 'a b', '日本']],
  ['names of the language', ['constructor', 'toString', 'class', '1', '0', 'hasOwnProperty', 'cells']],
  ['very many', Array.from({ length: 200 }, (_, at) => `column ${at}`)],
])('columns of any name make the same plain rows, few or many: %s', (_, names) => {
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

test('bytes are copies, so that a kept blob does not keep the result', () => {
  const { bytes } = vector('bytes with zeros and of no encoding');
  const blob = new RowBuffer<{ b: Uint8Array }>(bytes).at(0)?.b;
  expect(blob?.buffer.byteLength).toBe(16);
});
