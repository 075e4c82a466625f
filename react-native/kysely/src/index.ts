/** The public API of the package. */
export { RejoinDialect } from './dialect';
export type { TableOf, TablesOf } from './tables';
export { type QueryHandlers, watchQuery } from './watch';
