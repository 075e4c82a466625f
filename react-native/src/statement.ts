/**
 * Statements with their parameters, and the conversion of SQLite values to the engine's types and back.
 *
 * A value is passed unchanged or the call fails with an {@link InvalidInputError}. The rows of a query are decoded in `row-buffer.ts`.
 */
import { InvalidInputError } from './errors';
import * as ffi from './generated/rejoin_ffi';
import { bind, type IntegerMode, type SqlParam, type SqlValue, wellFormed } from './value';

/** A statement with its parameters, for `execute`, `batch` and `queryMany`. */
export interface Statement {
  /** One statement. */
  readonly sql: string;
  /** A value for each `?`, in order. Default: none. */
  readonly params?: readonly SqlParam[] | undefined;
}

/** Checks the SQL of a statement. */
export function statementText(sql: string): string {
  if (typeof sql !== 'string') throw new InvalidInputError(`a statement is a string, not a ${typeof sql}`);
  return wellFormed(sql, 'the statement');
}

/** Converts parameters for the engine. */
export function lowerAll(params: readonly SqlParam[]): ffi.SqlValue[] {
  if (!Array.isArray(params)) throw new InvalidInputError(`parameters are an array with a value for each ?, not ${params === null ? 'null' : `a value of type ${typeof params}`}`);
  return params.map((value, at) => lower(value, `parameter ${at + 1}`));
}

/** Converts statements for the engine. */
export function lowerStatements(statements: readonly Statement[]): ffi.Statement[] {
  return statements.map(({ sql, params }) => ({ sql: statementText(sql), params: lowerAll(params ?? []) }));
}

/** An object of the engine that runs statements. */
interface Executor {
  execute(sql: string, params: ffi.SqlValue[]): Promise<bigint>;
}

/** Runs a statement, given as SQL with parameters or as an object, and returns the number of rows that it changed. */
export async function execute(engine: Executor, given: string | Statement, params?: readonly SqlParam[]): Promise<number> {
  const isObject = typeof given === 'object' && given !== null;
  if (isObject && params !== undefined) throw new InvalidInputError('a Statement contains its parameters; omit the second argument');
  const statement = isObject ? given : { sql: given, params };
  return Number(await engine.execute(statementText(statement.sql), lowerAll(statement.params ?? [])));
}

/** Converts one value for the engine; `what` names it in the error. */
export function lower(value: SqlParam, what: string): ffi.SqlValue {
  const bound = bind(value, what);
  switch (bound.tag) {
    case 'null':
      return new ffi.SqlValue.Null();
    case 'integer':
      return new ffi.SqlValue.Integer({ value: bound.value });
    case 'real':
      return new ffi.SqlValue.Real({ value: bound.value });
    case 'text':
      return new ffi.SqlValue.Text({ value: bound.value });
    case 'blob':
      return new ffi.SqlValue.Blob({ value: exactly(bound.value) });
  }
}

/** Converts one value from the engine. */
export function raise(value: ffi.SqlValue, integers: IntegerMode = 'auto'): SqlValue {
  switch (value.tag) {
    case ffi.SqlValue_Tags.Null:
      return null;
    case ffi.SqlValue_Tags.Integer:
      return integer(value.inner.value, integers);
    case ffi.SqlValue_Tags.Blob:
      return new Uint8Array(value.inner.value);
    default:
      return value.inner.value;
  }
}

function integer(exact: bigint, integers: IntegerMode): number | bigint {
  const number = Number(exact);
  if (integers === 'bigint') return exact;
  if (Number.isSafeInteger(number)) return number;
  if (integers === 'auto') return exact;
  throw new InvalidInputError(`${exact} is an integer that a number would round; read integers as 'auto' or 'bigint'`);
}

/** An ArrayBuffer with exactly these bytes, as the bindings require. */
export function exactly(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteLength } = bytes;
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) return buffer;
  return bytes.slice().buffer as ArrayBuffer;
}
