/** The public API of the package. */
export { type ColumnsOf, bytes, type Fits, int64 } from './columns';
export { drizzle, type DrizzleDatabase, type DrizzleOptions } from './database';
export type { ResultHandlers, RunResult } from './prepared';
export { watchQuery } from './watch';
