/**
 * One run of an action's code: what it is given, and how its end goes back.
 *
 * Promise: whatever the code does (throws, throws what is no error, forgets to wait, never ends), its run ends once and nobody
 * waits for ever; an error of the context that it throws on stays what it is.
 * Border: the engine serves the context and ends it by itself when nobody speaks.
 */
import type { ActionDefinition, ActionHandler, Performed, Projections } from './actions';
import { crossing, directly, type ffi, lowerAll, statementText, thrownByAction, words } from './border';
import { CallbackError, InvalidInputError } from './errors';
import { decodeBytes, decodeJson, encodeJson, type JsonParam } from './json';
import { Reader } from './reader';
import { ActionError } from './refusals';
import type { DecodeOptions, Row } from './row-buffer';
import type { IntegerMode, SqlParam } from './value';

/**
 * What an action's code is given: the rows of its transaction, and a time and ids that are the same at each run.
 *
 * Queries see what the action wrote; say `ORDER BY` where more than one row can come. Statements may not use what would be something
 * else at another run (tables that are not synced, chance, clocks, rowids): that is an InvalidInputError. Wait for each call before
 * the code ends.
 */
export class ActionContext extends Reader {
  /** When the action was performed: milliseconds since 1970. In its statements `rejoin_now()` is the same instant. */
  readonly timeMs: number;
  /** The same as text, as all columns write it (`2026-01-02T03:04:05.000000Z`). */
  readonly time: string;
  /** The id of the mutation that this run makes, or made. */
  readonly mutationId: string;
  /** Aborted when the engine no longer waits for this run. */
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
   * Runs one statement, and tells how many rows it changed.
   *
   * @throws InvalidInputError, ConstraintError: the action may go on without what the statement did; TransactionTimeoutError,
   *   SuspendedError, EndedError if the engine has given it up.
   */
  async execute(sql: string, params: readonly SqlParam[] = []): Promise<number> {
    return Number(await this.#call((inner) => inner.execute(statementText(sql), lowerAll(params))));
  }

  /** Runs one statement that writes and gives rows (`INSERT ... RETURNING`). Throws as {@link execute} does. */
  async executeReturning<T = Row>(sql: string, params: readonly SqlParam[] = [], options: DecodeOptions = {}): Promise<T[]> {
    return this.decoded<T>(await this.fetch(sql, params), options).toArray();
  }

  /**
   * The id of a row of `table` that this action makes: the same at each run, and another one for each action. `row` has at least the
   * columns that {@link Actions.identity} names, or whatever its {@link Actions.projection} takes.
   *
   * @throws ActionError if this run was given the id already, and nothing of the action is kept; InvalidInputError if the table has no
   *   identity, or the row lacks a column of it.
   */
  async rowId(table: string, row: { readonly [column: string]: JsonParam | undefined }): Promise<string> {
    const identity = this.#projections.get(table.toLowerCase())?.(row) ?? row;
    return this.#call((inner) => inner.rowId(table, encodeJson(identity, 'the row')));
  }

  /**
   * Says no, in the app's own words: `throw context.refuse('not enough in stock')`. Nothing of the action is kept; whoever performed
   * it gets an {@link ActionError} whose fault is `'refused'`. It throws by itself, too, so that no `throw` can be forgotten.
   */
  refuse(message: string): never {
    const action = this.#action;
    throw new ActionError(`action ${action}: ${message}`, { action, fault: 'refused', words: message });
  }

  /** The code has ended. @internal */
  end(): void {
    const inner = this.#ffi as { uniffiDestroy?: () => void } | undefined;
    this.#ffi = undefined;
    inner?.uniffiDestroy?.();
  }

  protected override async fetch(sql: string, params: readonly SqlParam[]): Promise<ArrayBuffer> {
    return this.#call((inner) => inner.query(statementText(sql), lowerAll(params)));
  }

  #call<T>(what: (inner: ffi.ActionContextLike) => Promise<T>): Promise<T> {
    return crossing(async () => {
      if (this.#ffi === undefined) throw new InvalidInputError(`the run of action ${this.#action} has ended; it must wait for each call before`);
      return what(this.#ffi);
    });
  }
}

/** What code of actions threw, until whoever performed it has heard; where it ran again that is nobody, so only the newest are kept. */
const thrown: { readonly action: string; readonly reason: string; readonly error: unknown }[] = [];
const KEPT = 32;

/** The code as the engine calls it. @internal */
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
        return value === undefined ? '' : encodeJson(value, `what action ${name} gave back`);
      } catch (error) {
        thrown.push({ action: name, reason: words(error), error });
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

/** Performs an action by this call; `action` is its name, where that is known. @internal */
export async function performing<T>(call: () => Promise<ffi.Performed>, integers: IntegerMode, action?: string): Promise<Performed<T>> {
  try {
    const { id, valueJson } = await crossing(call);
    const value = decodeJson(valueJson, integers, `the value of action ${action ?? 'that was performed again'}`) as T;
    return id === undefined ? { value } : { id, value };
  } catch (error) {
    throw withCause(error, action);
  }
}

/** The error of an action that was performed here: with what its code threw, if that is what it is about. */
function withCause(error: unknown, action?: string): unknown {
  if (!(error instanceof CallbackError)) return error;
  const at = thrown.findIndex((one) => (action ?? one.action) === one.action && error.message.endsWith(`: ${one.reason}`));
  const [found] = at < 0 ? [] : thrown.splice(at, 1);
  return found === undefined ? error : new CallbackError(error.message, { cause: found.error });
}
