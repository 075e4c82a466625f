/**
 * The app's actions: what is said of them before the file is opened.
 *
 * Promise: methods only collect; what is wrong is told by opening the file, all of it together.
 * Border: running the code of one is in `acting.ts`, and when it runs again is decided by the engine (`docs/actions.md`).
 */
import { lowerHandler } from './acting';
import type { ActionContext } from './acting';
import { ffi } from './border';
import { ConfigurationError, InvalidInputError } from './errors';
import { encodeJson, type Json, type JsonParam } from './json';
import type { IntegerMode } from './value';

/**
 * What a parameter takes: text without NUL; an integer of 64 bits; a number, whole ones too; `true` or `false`, 1 and 0 in SQL; an
 * instant, as a `Date` or RFC 3339; bytes; any JSON, in SQL its text.
 */
export type ParameterType = 'text' | 'integer' | 'real' | 'boolean' | 'time' | 'blob' | 'json';

/** A parameter of an action. */
export interface ActionParameter {
  /** Its name: letters, digits and `_`. */
  readonly name: string;
  readonly type: ParameterType;
  /** Whether it may be left out, or be null. Default: no. */
  readonly optional?: boolean | undefined;
}

/**
 * How arguments of an older version of an action become those of the present one, for a mutation that was performed with the older and has to
 * run again. First `drop`, then `rename`, then `set`.
 */
export interface ActionUpgrade {
  /** Old names, and the new ones. */
  readonly rename?: Readonly<Record<string, string>> | undefined;
  /** What is set where it is not there. */
  readonly set?: Readonly<Record<string, JsonParam>> | undefined;
  /** What is not taken any more. */
  readonly drop?: readonly string[] | undefined;
}

/** An action that is data: the same for every language. Its members are explained in `docs/actions.md`. */
export interface DeclaredAction {
  readonly name: string;
  /** Rises when it does something else, or takes other arguments. Default 1. */
  readonly version?: number | undefined;
  readonly parameters?: readonly ActionParameter[] | undefined;
  /** Each asks a query whose first cell must be a number other than 0; else the action is refused with the message. */
  readonly preconditions?: readonly { readonly sql: string; readonly message: string }[] | undefined;
  /** Run one after another; parameters are `:name`, `:time` is the action's time, `:mutation` its id. */
  readonly statements: readonly string[];
  /** Ids of rows that it makes, by name: the table, and the parameters that tell such rows of one action apart. */
  readonly ids?: Readonly<Record<string, { readonly table: string; readonly identity: readonly string[] }>> | undefined;
  /** A query whose first row is given back, as an object. */
  readonly result?: string | undefined;
  /** By older version. */
  readonly upgrades?: Readonly<Record<number, ActionUpgrade>> | undefined;
}

/** What is said of an action that is code. */
export interface ActionDefinition<P extends readonly ActionParameter[] = readonly ActionParameter[], I extends IntegerMode = IntegerMode> {
  readonly name: string;
  /** Rises when it does something else, or takes other arguments. Default 1. */
  readonly version?: number | undefined;
  /** What it takes; from this the code knows the types of its arguments. */
  readonly parameters?: P | undefined;
  /** The older versions whose arguments it takes over. A mutation of another one is laid down as it was recorded. */
  readonly upgrades?: Readonly<Record<number, ActionUpgrade>> | undefined;
  /** How integers come out of arguments. Default `'number'`: one that would be rounded is a CallbackError, and nothing is done. */
  readonly integers?: I | undefined;
}

/** An argument as the code gets it: a `time` is the text that was given, a `blob` its bytes. */
export type ArgumentOf<T extends ParameterType, I extends IntegerMode = 'number'> = {
  text: string;
  integer: I extends 'bigint' ? bigint : I extends 'auto' ? number | bigint : number;
  real: number;
  boolean: boolean;
  time: string;
  blob: Uint8Array;
  json: Json;
}[T];

/** The arguments as the code gets them, by name; one that may be left out is `undefined` if it was, or was null. */
export type ArgumentsOf<P extends readonly ActionParameter[], I extends IntegerMode = 'number'> = {
  readonly [E in P[number] as E['name']]: E extends { readonly optional: true } ? ArgumentOf<E['type'], I> | undefined : ArgumentOf<E['type'], I>;
};

/** The code of an action; see {@link Actions.handler}. */
export type ActionHandler<A> = (context: ActionContext, args: A) => unknown;

/** What a row is to its identity; see {@link Actions.projection}. */
export type Projection = (row: { readonly [column: string]: JsonParam | undefined }) => { readonly [name: string]: JsonParam | undefined };

/** The projections of one opening, by table in lower case. @internal */
export type Projections = Map<string, Projection>;

/** What is said to a registry. */
type Entry = (registry: ffi.ActionRegistryLike, integers: IntegerMode, projections: Projections) => void;

/** What became of an action that was performed. */
export interface Performed<T = Json> {
  /** The mutation that waits for the server; undefined if the action wrote nothing to synced tables. */
  readonly id?: string;
  /** What the action gave back; null if nothing. */
  readonly value: T;
}

/**
 * The actions of an app, and the rules that belong to them; handed over when the file is opened.
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
 * What is added after the opening has no effect on a file that is open.
 */
export class Actions {
  readonly #entries: Entry[] = [];

  /** Adds an action that is data, as an object or as its JSON. Prefer it to code: it is the same in every language. */
  declare(action: DeclaredAction | string): this {
    const json = typeof action === 'string' ? action : encodeJson(action, 'the action');
    return this.#add((registry) => registry.declare(json));
  }

  /**
   * Adds an action that is code of the app. Several versions of one name may stand side by side: the newest is performed.
   *
   * ```ts
   * actions.handler({ name: 'rename', parameters: [{ name: 'id', type: 'text' }, { name: 'title', type: 'text' }] }, async (context, { id, title }) => {
   *   const task = await context.queryOne<{ done: number }>('SELECT done FROM task WHERE id = ?', [id]);
   *   if (task === undefined) throw context.refuse('it is gone');
   *   await context.execute('UPDATE task SET title = ? WHERE id = ?', [title, id]);
   * });
   * ```
   *
   * The code runs when it is performed, and again, at any time, when rows change under it before the server has it. So it must depend on
   * nothing but its context and its arguments, and wait for nothing but the context: the writer, and everybody who writes, waits
   * for it. A write by the client, from inside, waits for the action, which waits for it, until the action is given up.
   *
   * What it gives back is the action's value; see {@link JsonParam}. Whatever it throws, nothing of it is kept: an error that it was given by
   * its context goes on as it is, {@link ActionContext.refuse} says no in the app's words, and anything else is a
   * {@link CallbackError} with it as `cause`. Where it runs again, the mutation is parked as `'unreplayable'`. Without a statement
   * for `transactionIdleMs` it is given up, and so it is by `suspend` and `shutdown`: later calls of its context are refused.
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

  /** Says what tells the rows of a table apart that one action makes: {@link ActionContext.rowId} makes their ids of these columns. */
  identity(table: string, columns: readonly string[]): this {
    return this.#add((registry, _, projections) => {
      registry.identity(table, [...columns]);
      projections.delete(table.toLowerCase());
    });
  }

  /**
   * {@link identity}, where a function says it: what it makes of the row that {@link ActionContext.rowId} is given is its identity. A pure
   * function; what it throws is what `rowId` throws. The `ids` of declared actions have their own.
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

  /** Says that only actions write this table: any other local write is an InvalidInputError. What the server sends is laid down as ever. */
  onlyByActions(table: string): this {
    return this.#add((registry) => registry.onlyByActions(table));
  }

  /** For one opening; `integers` is how they come out of the queries of code. Destroyed by who asks for it. @internal */
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
