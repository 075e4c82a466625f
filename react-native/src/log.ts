/**
 * Passes the engine's log to the app.
 *
 * Logging never blocks the engine: lines that a slow logger cannot take are dropped and counted in a later line. Messages of this package
 * go to the console instead.
 */
import { directly, ffi } from './border';
import { tell } from './callback';

/** The log levels, from the fewest lines to the most. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** A line of the log. */
export interface LogRecord {
  readonly level: LogLevel;
  /** The time, in milliseconds since 1970. */
  readonly atMs: number;
  /** The module of the engine. */
  readonly target: string;
  /** The message. */
  readonly text: string;
  /** The structured fields, by name. */
  readonly fields: Readonly<Record<string, string>>;
}

/** Receives one line of the log. An error that it throws is printed on the console. */
export type RejoinLogger = (record: LogRecord) => unknown;

const LEVELS: Record<LogLevel, ffi.LogLevel> = {
  error: ffi.LogLevel.Error,
  warn: ffi.LogLevel.Warn,
  info: ffi.LogLevel.Info,
  debug: ffi.LogLevel.Debug,
  trace: ffi.LogLevel.Trace,
};

const NAMES = Object.fromEntries(Object.entries(LEVELS).map(([name, level]) => [level, name])) as Record<
  ffi.LogLevel,
  LogLevel
>;

/**
 * Sends the engine's log to `logger` and replaces the previous one; without a logger, nothing is logged.
 *
 * ```ts
 * setLogger('info', ({ level, text, fields }) => console.log(level, text, fields));
 * ```
 *
 * One logger serves all clients of the process. May be called at any time, also to change only the level. A logger that calls a client
 * receives the log lines of that call too: at `'trace'` that is an endless loop.
 */
export function setLogger(level: LogLevel, logger?: RejoinLogger): void {
  const onLog = (record: ffi.LogRecord): void => {
    if (logger !== undefined) tell(() => logger(raiseRecord(record)), 'a logger');
  };
  directly(() => ffi.setLogSink(LEVELS[level], logger === undefined ? undefined : { onLog }));
}

function raiseRecord({ level, atMs, target, text, fields }: ffi.LogRecord): LogRecord {
  return {
    level: NAMES[level],
    atMs: Number(atMs),
    target,
    text,
    fields: Object.fromEntries(fields.map(({ name, value }) => [name, value])),
  };
}
