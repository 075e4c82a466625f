/** The value of a column as a text field, and back. The kinds are those of the tables in schema.json. */
import type { SqlParam, SqlValue } from '@rejoin/react-native';
import schema from '../schema.json';

/** The text that shows a value. Undefined is the value of a row that does not exist. */
export function valueText(value: SqlValue | undefined): string {
  if (value === undefined) return 'no row';
  if (value === null) return 'NULL';
  return value instanceof Uint8Array ? `${value.length} bytes` : String(value);
}

/** The column in the schema; undefined if there is none. */
export function columnOf(table: string, name: string): { readonly logical_type: string; readonly nullable: boolean } | undefined {
  return schema.tables.find(({ table_name }) => table_name === table)?.columns.find((column) => column.name === name);
}

/**
 * The value of a field for a column; null stands for NULL.
 *
 * @throws Error if the text is no value of the column's type.
 */
export function parseField(table: string, name: string, text: string | null): SqlParam {
  const type = columnOf(table, name)?.logical_type;
  if (text === null || (type !== 'int64' && type !== 'float')) return text;
  const trimmed = text.trim();
  if (type === 'int64' && /^[+-]?\d+$/.test(trimmed)) return BigInt(trimmed.replace('+', ''));
  const number = Number(trimmed);
  if (type === 'float' && trimmed !== '' && Number.isFinite(number)) return number;
  throw new Error(`${name}: expected a ${type === 'int64' ? 'whole ' : ''}number, got "${text}"`);
}
