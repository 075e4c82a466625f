/** The public names of the package; nothing else is. */
export * from './errors';
export { type DecodeOptions, type IntegerMode, type Row, RowBuffer } from './row-buffer';
export type { SqlParam, SqlValue } from './value';
