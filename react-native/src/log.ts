/**
 * The engine's log, handed to the app.
 *
 * Promise: logging never holds the engine up: what a slow sink cannot take is dropped, and the number of lines is told.
 * Border: the engine's own words only; what the package itself has to say goes to the console.
 */
import { directly, ffi } from './border';
import { tell } from './callback';

/** How much is logged, from the least to the most. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** A line of the log. */
export interface LogRecord {
  /** How grave it is. */
  readonly level: LogLevel;
  /** When, in milliseconds since 1970 with a fraction. */
  readonly at: number;
  /** The part of the engine that speaks. */
  readonly target: string;
  /** What it says. */
  readonly text: string;
  /** What belongs to it, by name. */
  readonly fields: Readonly<Record<string, string>>;
}

/** Takes one line of the log. What it throws is shown on the console. */
export type LogSink = (record: LogRecord) => unknown;

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
 * Hands the engine's log to `sink` from now on, in place of the sink before; without one, nothing is logged.
 *
 * ```ts
 * setLogSink('info', ({ level, text, fields }) => console.log(level, text, fields));
 * ```
 *
 * One sink serves all clients of the process. May be called at any time, also to change the level alone. A sink that calls a client
 * hears of that call too: at `'trace'` it would feed itself.
 */
export function setLogSink(level: LogLevel, sink?: LogSink): void {
  const onLog = (record: ffi.LogRecord): void => {
    if (sink !== undefined) tell(() => sink(raiseRecord(record)), 'a log sink');
  };
  directly(() => ffi.setLogSink(LEVELS[level], sink === undefined ? undefined : { onLog }));
}

function raiseRecord({ level, at, target, text, fields }: ffi.LogRecord): LogRecord {
  return {
    level: NAMES[level],
    at: Number(at) / 1000,
    target,
    text,
    fields: Object.fromEntries(fields.map(({ name, value }) => [name, value])),
  };
}
