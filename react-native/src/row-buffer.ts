/**
 * Row buffers: the result of a query as one block of bytes, decoded on access. The format is in `docs/row-buffer.md`.
 *
 * Damaged bytes cause an {@link InternalError}, never a wrong value or an out-of-bounds read. An integer is exact or an error.
 */
import { InternalError, InvalidInputError, type RejoinError } from './errors';
import { makerOf } from './shape';
import { type Host, Texts } from './text';
import type { IntegerMode, SqlValue } from './value';

/** How rows are decoded. */
export interface DecodeOptions {
  /** How integers are decoded. Default `'auto'`. */
  readonly integers?: IntegerMode | undefined;
}

/** A row: its columns by name, in order. Of two columns with the same name it has the first. */
export type Row = Record<string, SqlValue>;

const HEADER = 20;
const MAGIC = 0x31424a52;
const TWO_32 = 4294967296;
/** The number of rows from which compiling a row constructor pays off. */
const MANY = 32;

/**
 * The rows of a result.
 *
 * ```ts
 * const rows = await client.rows<{ id: string; title: string }>('SELECT id, title FROM task');
 * rows.length;                 // decodes nothing
 * rows.at(3)?.title;           // decodes one row
 * for (const row of rows) {}   // decodes row by row
 * rows.toArray();              // decodes all rows
 * ```
 *
 * Rows are plain objects, created at each access. The type parameter is not checked.
 */
export class RowBuffer<T = Row> implements Iterable<T> {
  /** The names of the columns, in order. */
  readonly columns: readonly string[];
  /** The number of rows. */
  readonly length: number;
  private readonly view: DataView;
  private readonly texts: Texts;
  private readonly integers: IntegerMode;
  /** The property name of each column; undefined for the second column with the same name. */
  private readonly keys: readonly (string | undefined)[];
  /** Whether no column is named `__proto__`. */
  private readonly plain: boolean;
  private readonly start: number;
  private readonly end: number;
  /** The offset of the next cell. */
  private next = 0;

  /**
   * Reads the header and the column names; rows are decoded on access.
   *
   * @throws InternalError if the bytes are not a row buffer.
   */
  constructor(
    /** The bytes from the engine; not copied. */
    readonly bytes: Uint8Array,
    options: DecodeOptions = {},
    host?: Host,
  ) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < HEADER) throw damaged('shorter than its header');
    if (view.getUint32(0, true) !== MAGIC) throw damaged('does not begin with RJB1');
    const number = (at: number) => view.getUint32(at, true);
    this.length = number(8);
    this.start = HEADER + number(12);
    this.end = this.start + number(16);
    if (this.end + 4 * this.length !== bytes.length) throw damaged('its lengths do not add up');
    this.view = view;
    this.texts = new Texts(bytes, host);
    this.integers = options.integers ?? 'auto';
    this.columns = names(view, this.texts, number(4), this.start);
    const unique = new Set<string>();
    // The set grows with each new name: linear time, even for a buffer that contains only names.
    this.keys = this.columns.map((name) => (unique.size < unique.add(name).size ? name : undefined));
    this.plain = !unique.has('__proto__');
  }

  /** The row with this index, from 0; undefined if out of range. */
  at(row: number): T | undefined {
    if (!Number.isInteger(row) || row < 0 || row >= this.length) return undefined;
    return this.row(row);
  }

  /** One cell, by row index and column index or name; earlier cells of the row are skipped. */
  cell(row: number, column: number | string): SqlValue {
    const number = typeof column === 'number' ? column : this.columns.indexOf(column);
    if (!(Number.isInteger(row) && row >= 0 && row < this.length)) throw new InvalidInputError(`there is no row ${row} among ${this.length}`);
    if (!(Number.isInteger(number) && number >= 0 && number < this.columns.length)) {
      throw new InvalidInputError(`there is no column ${column} among ${this.columns.join(', ')}`);
    }
    this.seek(row);
    for (let passed = 0; passed < number; passed += 1) this.skip();
    return this.read(number);
  }

  /** All rows. */
  toArray(): T[] {
    const rows = new Array<T>(this.length);
    const make = rows.length < MANY ? undefined : makerOf(this.keys);
    if (make === undefined) {
      for (let row = 0; row < rows.length; row += 1) rows[row] = this.row(row);
      return rows;
    }
    const cells = new Array<SqlValue>(this.keys.length);
    for (let row = 0; row < rows.length; row += 1) {
      this.seek(row);
      for (let column = 0; column < cells.length; column += 1) cells[column] = this.read(column);
      rows[row] = make(cells) as T;
    }
    return rows;
  }

  /** Iterates over the rows and decodes them one by one. */
  *[Symbol.iterator](): Iterator<T> {
    for (let row = 0; row < this.length; row += 1) yield this.row(row);
  }

  private row(number: number): T {
    this.seek(number);
    const keys = this.keys;
    const row: Row = {};
    for (let column = 0; column < keys.length; column += 1) {
      const key = keys[column];
      const value = this.read(column);
      if (key === undefined) continue;
      if (this.plain) row[key] = value;
      else Object.defineProperty(row, key, { value, writable: true, enumerable: true, configurable: true });
    }
    return row as T;
  }

  private seek(row: number): void {
    this.next = this.start + this.view.getUint32(this.end + 4 * row, true);
  }

  /** Reads the next cell. One function, because JIT compilers handle it best: it runs once per cell. */
  private read(column: number): SqlValue {
    const { bytes, end } = this;
    const at = this.next + 1;
    if (at > end) throw damaged('a cell is cut');
    switch (bytes[at - 1]) {
      case 0:
        this.next = at;
        return null;
      case 1:
        this.until(at + 1);
        return this.small(((bytes[at] as number) << 24) >> 24);
      case 2:
        this.until(at + 2);
        return this.small((((bytes[at] as number) | ((bytes[at + 1] as number) << 8)) << 16) >> 16);
      case 3:
        this.until(at + 4);
        return this.small(this.view.getInt32(at, true));
      case 4:
        this.until(at + 8);
        return this.wide(at, column);
      case 5:
        this.until(at + 8);
        return this.view.getFloat64(at, true);
      case 6:
        this.until(at + 1);
        this.until(at + 1 + (bytes[at] as number));
        return this.text(at + 1, column);
      case 7:
        this.until(at + 4);
        this.until(at + 4 + this.view.getUint32(at, true));
        return this.text(at + 4, column);
      case 8:
        this.until(at + 1);
        this.until(at + 1 + (bytes[at] as number));
        return bytes.slice(at + 1, this.next);
      case 9:
        this.until(at + 4);
        this.until(at + 4 + this.view.getUint32(at, true));
        return bytes.slice(at + 4, this.next);
      case 10:
      case 11:
        this.next = at;
        return bytes[at - 1] === 11;
      default:
        throw damaged('a cell has an unknown tag');
    }
  }

  /** Skips the next cell. */
  private skip(): void {
    const { bytes, end } = this;
    const at = this.next + 1;
    if (at > end) throw damaged('a cell is cut');
    const tag = bytes[at - 1] as number;
    if (tag > 11) throw damaged('a cell has an unknown tag');
    this.until(at + (WIDTH[tag] as number));
    if (tag === 6 || tag === 8) this.until(at + 1 + (bytes[at] as number));
    if (tag === 7 || tag === 9) this.until(at + 4 + this.view.getUint32(at, true));
  }

  /** Moves to the offset `next`, which must be within the rows. */
  private until(next: number): void {
    if (next > this.end) throw damaged('a cell is cut');
    this.next = next;
  }

  private small(value: number): number | bigint {
    return this.integers === 'bigint' ? BigInt(value) : value;
  }

  private wide(at: number, column: number): number | bigint {
    const value = this.view.getInt32(at + 4, true) * TWO_32 + this.view.getUint32(at, true);
    if (this.integers !== 'bigint' && Number.isSafeInteger(value)) return value;
    const exact = this.view.getBigInt64(at, true);
    if (this.integers !== 'number') return exact;
    throw new InvalidInputError(
      `column ${this.columns[column]} holds ${exact}, which a number would round; read integers as 'auto' or 'bigint'`,
    );
  }

  private text(start: number, column: number): string {
    const text = this.texts.at(start, this.next);
    if (text !== undefined) return text;
    throw new InvalidInputError(`column ${this.columns[column]} holds a text that is no UTF-8; cast it to BLOB in the query`);
  }
}

/** The minimum number of bytes after each tag: the value, or its length. */
const WIDTH = [0, 1, 2, 4, 8, 8, 1, 4, 1, 4, 0, 0];

function names(view: DataView, texts: Texts, count: number, end: number): string[] {
  // Each name takes at least four bytes, so a damaged count cannot allocate more memory than the buffer has.
  if (count > (end - HEADER) / 4) throw damaged('more columns than names');
  const found: string[] = [];
  let at = HEADER;
  for (let column = 0; column < count; column += 1) {
    if (at + 4 > end) throw damaged('a name is cut');
    const start = at + 4;
    at = start + view.getUint32(at, true);
    if (at > end) throw damaged('a name is cut');
    const name = texts.at(start, at);
    if (name === undefined) throw damaged('a name is not UTF-8');
    found.push(name);
  }
  if (at !== end) throw damaged('something follows the names');
  return found;
}

function damaged(how: string): RejoinError {
  return new InternalError(`row buffer is damaged: ${how}`);
}
