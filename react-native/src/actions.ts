/**
 * The registry of the app's actions, passed to `RejoinClient.open`.
 *
 * Its methods only collect definitions; opening the file validates them and reports all problems together. `acting.ts` runs handlers,
 * and the engine decides when an action runs again (`docs/actions.md`).
 */
import { lowerHandler } from './acting';
import type {
  ActionDefinition,
  ActionHandler,
  ActionParameter,
  ActionUpgrade,
  ArgumentsOf,
  DeclaredAction,
  ParameterType,
  Projection,
  Projections,
} from './action-types';
import { ffi } from './border';
import { ConfigurationError, InvalidInputError } from './errors';
import { encodeJson } from './json';
import type { IntegerMode } from './value';

/** One call to the engine's registry. */
type Entry = (registry: ffi.ActionRegistryLike, integers: IntegerMode, projections: Projections) => void;

/**
 * The actions of an app and the rules for their tables, passed to `RejoinClient.open`.
 *
 * ```ts
 * const actions = new Actions()
 *   .declare({
 *     name: 'take',
 *     parameters: [{ name: 'id', type: 'text' }, { name: 'n', type: 'integer' }],
 *     preconditions: [{ sql: 'SELECT n >= :n FROM stock WHERE id = :id', message: 'not enough in stock' }],
 *     statements: ['UPDATE stock SET n = n - :n WHERE id = :id'],
 *   })
 *   .onlyByActions('stock');
 * const client = await RejoinClient.open(config, { actions });
 * await client.perform('take', { id: 'nails', n: 2 });
 * ```
 *
 * Definitions added after the opening have no effect on the open file.
 */
export class Actions {
  readonly #entries: Entry[] = [];

  /** Adds a declared action, as an object or as its JSON. Prefer it to a handler: it is the same in every language. */
  declare(action: DeclaredAction | string): this {
    const json = typeof action === 'string' ? action : encodeJson(action, 'the action');
    return this.#add((registry) => registry.declare(json));
  }

  /**
   * Adds an action that is a function of the app. Several versions of one name may be registered: `perform` uses the newest.
   *
   * ```ts
   * actions.handler({ name: 'rename', parameters: [{ name: 'id', type: 'text' }, { name: 'title', type: 'text' }] }, async (context, { id, title }) => {
   *   const task = await context.queryOne<{ done: boolean }>('SELECT done FROM task WHERE id = ?', [id]);
   *   if (task === undefined) throw context.refuse('it is gone');
   *   await context.execute('UPDATE task SET title = ? WHERE id = ?', [title, id]);
   * });
   * ```
   *
   * The handler runs in `perform`, and again, at any time before the mutation is sent, when remote changes reach rows that it used. So it
   * must depend only on its context and arguments, and await only calls of the context: all other writes wait for it. A write through
   * the client inside a handler is a deadlock, which ends when the engine cancels the run.
   *
   * The return value is the action's value; see {@link JsonParam}. If the handler throws, the action is rolled back. `perform` rethrows an
   * error of the context unchanged, throws an ActionError for {@link ActionContext.refuse}, and wraps any other error in a
   * {@link CallbackError} as its `cause`. If a later run throws, the mutation is parked as `'unreplayable'`. The engine cancels a run
   * after `transactionIdleMs` without a statement, and on `suspend` and `shutdown`; later calls of its context are refused.
   */
  handler<const P extends readonly ActionParameter[] = readonly [], I extends IntegerMode = 'number'>(
    definition: ActionDefinition<P, I>,
    handler: ActionHandler<ArgumentsOf<P, I>>,
  ): this {
    const { name, version, parameters = [], upgrades = {} } = definition;
    if (typeof handler !== 'function') throw new InvalidInputError(`the code of action ${name} is no function`);
    const lowered = ffi.ActionDefinition.create({
      name,
      ...(version === undefined ? {} : { version: lowerVersion(name, version) }),
      parameters: parameters.map((parameter) => lowerParameter(name, parameter)),
      upgrades: Object.entries(upgrades).map(([older, upgrade]) => lowerUpgrade(name, Number(older), upgrade)),
    });
    const code = handler as ActionHandler<Readonly<Record<string, unknown>>>;
    return this.#add((registry, integers, projections) => registry.handler(lowered, lowerHandler(definition, code, integers, projections)));
  }

  /** Sets the columns that distinguish the rows that one action inserts into a table; {@link ActionContext.rowId} derives ids from them. */
  identity(table: string, columns: readonly string[]): this {
    return this.#add((registry, _, projections) => {
      registry.identity(table, [...columns]);
      projections.delete(table.toLowerCase());
    });
  }

  /**
   * Like {@link identity}, with a pure function that computes the identity from the row passed to {@link ActionContext.rowId}. `rowId`
   * throws what the function throws. The `ids` of declared actions do not use it.
   *
   * ```ts
   * actions.projection('line', (row) => ({ day: String(row.at).slice(0, 10) }));
   * ```
   */
  projection(table: string, project: Projection): this {
    if (typeof project !== 'function') throw new InvalidInputError(`the projection of ${table} is no function`);
    return this.#add((registry, _, projections) => {
      registry.projection(table);
      projections.set(table.toLowerCase(), project);
    });
  }

  /** Restricts local writes of this table to actions: any other is an InvalidInputError. Rows from the server are applied as usual. */
  onlyByActions(table: string): this {
    return this.#add((registry) => registry.onlyByActions(table));
  }

  /** Builds the engine's registry for one opening; `integers` applies to queries of handlers. The caller destroys it. @internal */
  lower(integers: IntegerMode): ffi.ActionRegistryLike {
    const registry = new ffi.ActionRegistry();
    const projections: Projections = new Map();
    for (const entry of this.#entries) entry(registry, integers, projections);
    return registry;
  }

  #add(entry: Entry): this {
    this.#entries.push(entry);
    return this;
  }
}

const TYPE: Record<ParameterType, ffi.ActionParameterType> = {
  text: ffi.ActionParameterType.Text,
  integer: ffi.ActionParameterType.Integer,
  real: ffi.ActionParameterType.Real,
  boolean: ffi.ActionParameterType.Boolean,
  time: ffi.ActionParameterType.Time,
  blob: ffi.ActionParameterType.Blob,
  json: ffi.ActionParameterType.Json,
};

function lowerParameter(action: string, { name, type, optional = false }: ActionParameter): ffi.ActionParameter {
  const kind = TYPE[type];
  if (kind === undefined) throw new ConfigurationError(`action ${action}: parameter ${name}: ${String(type)} is no type`);
  return ffi.ActionParameter.create({ name, kind, optional });
}

function lowerUpgrade(action: string, older: number, { rename, set, drop = [] }: ActionUpgrade): ffi.ActionUpgrade {
  return ffi.ActionUpgrade.create({
    version: lowerVersion(action, older),
    ...(rename === undefined ? {} : { rename: new Map(Object.entries(rename)) }),
    ...(set === undefined ? {} : { setJson: encodeJson(set, `what an upgrade of action ${action} sets`) }),
    drop: [...drop],
  });
}

function lowerVersion(action: string, version: number): bigint {
  if (!Number.isSafeInteger(version)) throw new ConfigurationError(`action ${action}: ${String(version)} is no version`);
  return BigInt(version);
}
