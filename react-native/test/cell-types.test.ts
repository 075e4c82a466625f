/** Cells are decoded according to the table that all languages test (`docs/row-buffer.md`). */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { InvalidInputError } from '../src/errors';
import { RowBuffer } from '../src/row-buffer';
import type { IntegerMode, SqlValue } from '../src/value';

interface Case {
  readonly cell: { integer?: string; real?: string; text?: string; blob?: string; null?: string };
  readonly fits: Record<string, string | undefined>;
}

const { cells } = JSON.parse(
  readFileSync(new URL('../../core/vectors/cell-types.json', import.meta.url), 'utf8'),
) as { cells: Case[] };

/** A buffer of the one column `c` and one row, in the widest form. */
function buffer({ integer, real, text, blob }: Case['cell'], integers: IntegerMode): RowBuffer {
  const number = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  };
  const counted = (tag: number, bytes: Buffer): Buffer => Buffer.concat([Buffer.of(tag), number(bytes.length), bytes]);
  let body: Buffer = Buffer.of(0);
  if (integer !== undefined) {
    body = Buffer.alloc(9, 4);
    body.writeBigInt64LE(BigInt(integer), 1);
  } else if (real !== undefined) body = Buffer.concat([Buffer.of(5), Buffer.from(real, 'hex').reverse()]);
  else if (text !== undefined) body = counted(7, Buffer.from(text));
  else if (blob !== undefined) body = counted(9, Buffer.from(blob, 'hex'));
  const name = Buffer.concat([number(1), Buffer.from('c')]);
  const header = [number(1), number(1), number(name.length), number(body.length)];
  return new RowBuffer(Buffer.concat([Buffer.from('RJB1'), ...header, name, body, number(0)]), { integers });
}

/** Reads the value by row and by cell, which must be equal. */
function read(cell: Case['cell'], integers: IntegerMode): SqlValue {
  const rows = buffer(cell, integers);
  const [byRow, byCell] = [rows.at(0)?.['c'] as SqlValue, rows.cell(0, 'c')];
  expect(byCell).toStrictEqual(byRow);
  return byRow;
}

const bits = (value: SqlValue): string => {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value as number);
  return bytes.toString('hex');
};

/** Checks one cell in every mode. */
function check({ cell, fits }: Case): void {
  const what = JSON.stringify(cell);
  if (cell.integer === undefined) {
    for (const mode of ['auto', 'number', 'bigint'] as const) {
      const value = read(cell, mode);
      if (cell.real !== undefined) expect(bits(value), what).toBe(fits['number']);
      else if (cell.text !== undefined) expect(value, what).toBe(fits['text']);
      else if (cell.blob !== undefined) expect(Buffer.from(value as Uint8Array).toString('hex'), what).toBe(fits['blob']);
      else expect(value, what).toBeNull();
    }
    return;
  }
  const exact = BigInt(fits['i64'] ?? '');
  expect(read(cell, 'bigint'), what).toBe(exact);
  if (fits['number'] === undefined) {
    expect(read(cell, 'auto'), what).toBe(exact);
    expect(() => buffer(cell, 'number').at(0), what).toThrow(InvalidInputError);
    expect(() => buffer(cell, 'number').cell(0, 'c'), what).toThrow(/^column c holds /);
  } else {
    expect(bits(read(cell, 'auto')), what).toBe(fits['number']);
    expect(bits(read(cell, 'number')), what).toBe(fits['number']);
  }
}

test('cells are decoded as in every language', () => {
  expect(cells.length).toBeGreaterThan(50);
  cells.forEach(check);
});
