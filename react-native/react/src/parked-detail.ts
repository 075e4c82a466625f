/**
 * The detail of a parked mutation (`docs/verdicts.md`), parsed.
 *
 * A detail that is no JSON, or has another form, is an empty one.
 */
import type { SqlValue } from '@rejoin/react-native';

/** A row in conflict, as the server reported it. */
export interface ConflictRow {
  readonly table: string;
  /** The row's key, as text. */
  readonly id: string;
  /** The columns in conflict; empty if the row was deleted or created. */
  readonly columns: readonly string[];
  /** The server's row at the time of the verdict; null if there is none. */
  readonly theirs: Readonly<Record<string, unknown>> | null;
}

/** The detail of a parked mutation. */
export interface ParkDetail {
  readonly message: string | undefined;
  readonly rows: readonly ConflictRow[];
}

/** Parses the detail of a mutation. */
export function parseDetail(json: string | undefined): ParkDetail {
  const detail = member(parse(json));
  // A partly accepted mutation has the message of each rejection.
  const refused = new Set(list(detail['refused']).map((one) => one['message']).filter(isText));
  const message = refused.size > 0 ? [...refused].join('\n') : detail['message'];
  const rows = list(detail['rows']).map(({ table, id, columns, theirs }) => ({
    table: String(table),
    id: String(id),
    columns: Array.isArray(columns) ? columns.filter(isText) : [],
    theirs: typeof theirs === 'object' && theirs !== null ? member(theirs) : null,
  }));
  return { message: isText(message) ? message : undefined, rows };
}

/** A cell of the detail as a value of a column of this declared type. */
export function cellValue(cell: unknown, type: string | undefined): SqlValue {
  if (typeof cell === 'string' && type === 'BLOB') return Uint8Array.from(atob(cell), (character) => character.charCodeAt(0));
  if (cell === undefined || cell === null) return null;
  return typeof cell === 'object' ? JSON.stringify(cell) : declared(cell as SqlValue, type);
}

/** A value as a query returns it from a column of this declared type: 0 and 1 of BOOLEAN are booleans. */
export function declared(value: SqlValue, type: string | undefined): SqlValue {
  if (type === 'BOOLEAN') return value === 0 || value === 0n ? false : value === 1 || value === 1n ? true : value;
  return type !== 'BOOLEAN' && typeof value === 'boolean' ? Number(value) : value;
}

function parse(json: string | undefined): unknown {
  try {
    return JSON.parse(json ?? 'null');
  } catch {
    return null;
  }
}

const isText = (value: unknown): value is string => typeof value === 'string' && value.trim() !== '';
const member = (value: unknown): Record<string, unknown> => (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
const list = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.map(member) : []);
