/** The test vectors for the decoders of all languages, described in `docs/row-buffer.md`. */
import { readFileSync } from 'node:fs';
import type { SqlValue } from '../../src/value';

type CellText = { declared?: string; integer?: string; real?: string; text?: string; blob?: string; null?: string; times?: number };
type Piece = { hex?: string; index?: number; step?: number; times?: number };
interface Stored {
  name: string;
  columns: string[];
  rows: CellText[][];
  times?: number;
  hex?: string;
  pieces?: Piece[];
  found?: 'open' | 'cell';
}

/** A valid buffer and its contents. */
export interface Vector {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly SqlValue[])[];
}

/** A damaged buffer, and when the damage is detected. */
export interface Damage {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly found: 'open' | 'cell';
}

const stored = JSON.parse(
  readFileSync(new URL('../../../core/vectors/row-buffer.json', import.meta.url), 'utf8'),
) as Record<'valid' | 'readable' | 'damaged', Stored[]>;

/** Valid buffers: those that the encoder writes, and others. */
export const readable: Vector[] = [...stored.valid, ...stored.readable].map((vector) => {
  const rows = vector.rows.map((row) => row.map(value));
  const times = vector.times ?? 1;
  const all = times === 1 ? rows : Array.from({ length: rows.length * times }, (_, at) => rows[at % rows.length] ?? []);
  return { name: vector.name, bytes: bytes(vector), columns: vector.columns, rows: all };
});

/** Damaged buffers. */
export const damages: Damage[] = stored.damaged.map((vector) => {
  if (vector.found === undefined) throw new Error(`vector ${vector.name} has no member "found"`);
  return { name: vector.name, bytes: bytes(vector), found: vector.found };
});

function bytes(vector: Stored): Uint8Array {
  const pieces = vector.pieces ?? [{ hex: vector.hex ?? '' }];
  return new Uint8Array(Buffer.concat(pieces.map(piece)));
}

function piece({ hex, index, step = 0, times = 1 }: Piece): Buffer {
  if (hex !== undefined) return Buffer.alloc((hex.length / 2) * times, Buffer.from(hex, 'hex'));
  const numbers = Buffer.alloc(4 * (index ?? 0));
  for (let at = 0; at < numbers.length; at += 4) numbers.writeUInt32LE((at / 4) * step, at);
  return numbers;
}

function value(cell: CellText): SqlValue {
  if (cell.declared === 'BOOLEAN') return cell.integer === '1';
  if (cell.integer !== undefined) {
    const exact = BigInt(cell.integer);
    return Number.isSafeInteger(Number(exact)) ? Number(exact) : exact;
  }
  if (cell.real !== undefined) return Buffer.from(cell.real, 'hex').readDoubleBE();
  if (cell.text !== undefined) return cell.text.repeat(cell.times ?? 1);
  if (cell.blob !== undefined) return new Uint8Array(Buffer.from(cell.blob.repeat(cell.times ?? 1), 'hex'));
  return null;
}
