/**
 * Runs the handler of an action and passes its outcome to the engine.
 *
 * A run ends exactly once, whatever the handler does: throw, throw a non-error, leave a call un-awaited, or never return. An error
 * of the context that the handler rethrows keeps its type. The engine ends a run that makes no call for `transactionIdleMs`.
 */
import type { ActionDefinition, ActionHandler, Performed, Projections } from './action-types';
import { crossing, directly, type ffi, messageOf, thrownByAction } from './border';
import { CallbackError, InvalidInputError } from './errors';
import { decodeBytes, decodeJson, encodeJson, type JsonParam } from './json';
import { Reader } from './reader';
import { ActionError } from './refusals';
import type { DecodeOptions, Row } from './row-buffer';
import { execute, lowerAll, type Statement, statementText } from './statement';
import type { IntegerMode, SqlParam } from './value';

/**
 * The context of an action's handler: the rows of its transaction, and a time and ids that are the same in each run.
 *
 * Queries see what the action wrote; use `ORDER BY` where a query can return more than one row. Statements that are not deterministic
 * (local-only tables, random values, clocks, rowids) throw an InvalidInputError. Await each call before the handler returns.
 */
export class ActionContext extends Reader {
  /** When the action was performed: milliseconds since 1970. In its statements `rejoin_now()` is the same instant. */
  readonly timeMs: number;
  /** {@link timeMs} as text, in the format of time columns (`2026-01-02T03:04:05.000000Z`). */
  readonly time: string;
  /** The id of the action's mutation, the same in each run. */
  readonly mutationId: string;
  /** Aborted when the engine has cancelled this run. */
  readonly signal: AbortSignal;
  readonly #action: string;
  readonly #projections: Projections;
  #ffi: ffi.ActionContextLike | undefined;

  /** @internal */
  constructor(inner: ffi.ActionContextLike, action: string, integers: IntegerMode, signal: AbortSignal, projections: Projections) {
    super(integers);
    this.#ffi = inner;
    this.#action = action;
    this.signal = signal;
    this.#projections = projections;
    [this.timeMs, this.time, this.mutationId] = directly(() => [Number(inner.timeMs()), inner.time(), inner.mutationId()] as const);
  }

  /**
   * Runs one statement and returns the number of rows that it changed.
   *
   * @throws InvalidInputError, ConstraintError: the statement is undone, and the action can continue; TransactionTimeoutError,
   *   SuspendedError, ClosedError if the engine has cancelled the run.
   */
  execute(sql: string, params?: readonly SqlParam[]): Promise<number>;
  /** Runs a {@link Statement}, such as one that generated code returns, as `execute(sql, params)` does. */
  execute(statement: Statement): Promise<number>;
  async execute(statement: string | Statement, params?: readonly SqlParam[]): Promise<number> {
    return this.#call((inner) => execute(inner, statement, params));
  }

  /** Runs one statement that writes and returns rows (`INSERT ... RETURNING`). Throws as {@link execute} does. */
  async executeReturning<T = Row>(sql: string, params: readonly SqlParam[] = [], options: DecodeOptions = {}): Promise<T[]> {
    return this.decoded<T>(await this.fetch(sql, params), options).toArray();
  }

  /**
   * Returns the id for a row of `table` that this action inserts: the same in each run, and different for each action. `row` has at
   * least the columns named by {@link Actions.identity}, or those that its {@link Actions.projection} uses.
   *
   * @throws ActionError if this run has already used the id; the action is then rolled back. InvalidInputError if the table has no
   *   identity, or the row lacks a column of it.
   */
  async rowId(table: string, row: { readonly [column: string]: JsonParam | undefined }): Promise<string> {
    const identity = this.#projections.get(table.toLowerCase())?.(row) ?? row;
    return this.#call((inner) => inner.rowId(table, encodeJson(identity, 'the row')));
  }

  /**
   * Refuses the action with a message of the app: `throw context.refuse('not enough in stock')`. The action is rolled back, and
   * `perform` throws an {@link ActionError} with the fault `'refused'`. Always throws, so a forgotten `throw` makes no difference.
   */
  refuse(message: string): never {
    const action = this.#action;
    throw new ActionError(`action ${action}: ${message}`, { action, fault: 'refused', detail: message });
  }

  /** Called when the handler has ended. @internal */
  end(): void {
    const inner = this.#ffi as { uniffiDestroy?: () => void } | undefined;
    this.#ffi = undefined;
    inner?.uniffiDestroy?.();
  }

  protected override async fetch(sql: string, params: readonly SqlParam[]): Promise<ArrayBuffer> {
    return this.#call((inner) => inner.query(statementText(sql), lowerAll(params)));
  }

  #call<T>(call: (inner: ffi.ActionContextLike) => Promise<T>): Promise<T> {
    return crossing(async () => {
      if (this.#ffi === undefined) throw new InvalidInputError(`the run of action ${this.#action} has ended; await each call before the handler returns`);
      return call(this.#ffi);
    });
  }
}

/** Errors thrown by handlers, kept for the `cause` of the error of `perform`. A later run has no caller, so only the newest are kept. */
const thrown: { readonly action: string; readonly reason: string; readonly error: unknown }[] = [];
const KEPT = 32;

/** Wraps a handler for the engine. @internal */
export function lowerHandler(
  definition: ActionDefinition,
  handler: ActionHandler<Readonly<Record<string, unknown>>>,
  integers: IntegerMode,
  projections: Projections,
): ffi.ActionHandler {
  const { name } = definition;
  return {
    async run(inner, argumentsJson, options) {
      let context: ActionContext | undefined;
      try {
        context = new ActionContext(inner, name, integers, options?.signal ?? new AbortController().signal, projections);
        const value = await handler(context, raiseArguments(definition, argumentsJson));
        return value === undefined ? '' : encodeJson(value, `the value of action ${name}`);
      } catch (error) {
        thrown.push({ action: name, reason: messageOf(error), error });
        if (thrown.length > KEPT) thrown.shift();
        throw thrownByAction(error);
      } finally {
        context?.end();
      }
    },
  };
}

function raiseArguments({ name, parameters = [], integers = 'number' }: ActionDefinition, json: string): Record<string, unknown> {
  const given = decodeJson(json, integers, `the arguments of action ${name}`) as Record<string, never> | null;
  const blobs = parameters.filter(({ name, type }) => type === 'blob' && given?.[name] !== undefined);
  const bytes = blobs.map(({ name: blob }) => [blob, decodeBytes(given?.[blob] ?? '', `argument ${blob}`)] as const);
  return { ...given, ...Object.fromEntries(bytes) };
}

/** Performs an action by this call; `action` is its name if known. @internal */
export async function performing<T>(call: () => Promise<ffi.Performed>, integers: IntegerMode, action?: string): Promise<Performed<T>> {
  try {
    const { id, valueJson } = await crossing(call);
    const value = decodeJson(valueJson, integers, `the value of action ${action ?? 'that was performed again'}`) as T;
    return id === undefined ? { value } : { id, value };
  } catch (error) {
    throw withCause(error, action);
  }
}

/** Adds the error that the handler threw as `cause`, if the engine's error stems from it. */
function withCause(error: unknown, action?: string): unknown {
  if (!(error instanceof CallbackError)) return error;
  const at = thrown.findIndex((one) => (action ?? one.action) === one.action && error.message.endsWith(`: ${one.reason}`));
  const [found] = at < 0 ? [] : thrown.splice(at, 1);
  return found === undefined ? error : new CallbackError(error.message, { cause: found.error });
}
