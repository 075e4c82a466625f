/**
 * Types of actions: definitions, parameters, the arguments of a handler, and the result of `perform`.
 *
 * `actions.ts` registers actions, `acting.ts` runs handlers.
 */
import type { ActionContext } from './acting';
import type { Json, JsonParam } from './json';
import type { IntegerMode } from './value';

/**
 * The type of a parameter: text without NUL; a 64-bit integer; a number, also a whole one; `true` or `false` (1 and 0 in SQL); an
 * instant as a `Date` or RFC 3339 text; bytes; any JSON (its text in SQL).
 */
export type ParameterType = 'text' | 'integer' | 'real' | 'boolean' | 'time' | 'blob' | 'json';

/** A parameter of an action. */
export interface ActionParameter {
  /** Letters, digits and `_`. */
  readonly name: string;
  readonly type: ParameterType;
  /** Whether it may be omitted or null. Default: no. */
  readonly optional?: boolean | undefined;
}

/**
 * Converts the arguments of an older version of an action to those of the current one, when a mutation of the older version runs again.
 * First `drop`, then `rename`, then `set`.
 */
export interface ActionUpgrade {
  /** New names by old name. */
  readonly rename?: Readonly<Record<string, string>> | undefined;
  /** Values for arguments that are absent. */
  readonly set?: Readonly<Record<string, JsonParam>> | undefined;
  /** Arguments that are removed. */
  readonly drop?: readonly string[] | undefined;
}

/** An action that is data, the same in every language; see `docs/actions.md`. */
export interface DeclaredAction {
  readonly name: string;
  /** Increase it when the statements or the parameters change. Default 1. */
  readonly version?: number | undefined;
  readonly parameters?: readonly ActionParameter[] | undefined;
  /** Queries whose first cell must be a number other than 0; otherwise the action is refused with the message. */
  readonly preconditions?: readonly { readonly sql: string; readonly message: string }[] | undefined;
  /** Run in order; parameters are `:name`, `:time` is the action's time, `:mutation` its id. */
  readonly statements: readonly string[];
  /** Ids of the rows that it inserts, by name: the table, and the parameters that distinguish such rows of one action. */
  readonly ids?: Readonly<Record<string, { readonly table: string; readonly identity: readonly string[] }>> | undefined;
  /** A query whose first row is the action's value, as an object. */
  readonly result?: string | undefined;
  /** By older version. */
  readonly upgrades?: Readonly<Record<number, ActionUpgrade>> | undefined;
}

/** The definition of an action whose implementation is a handler. */
export interface ActionDefinition<P extends readonly ActionParameter[] = readonly ActionParameter[], I extends IntegerMode = IntegerMode> {
  readonly name: string;
  /** Increase it when the handler or the parameters change. Default 1. */
  readonly version?: number | undefined;
  /** The parameters, which also give the handler its argument types. */
  readonly parameters?: P | undefined;
  /** The older versions whose arguments it accepts. A mutation of any other version is reapplied as recorded and does not run again. */
  readonly upgrades?: Readonly<Record<number, ActionUpgrade>> | undefined;
  /** How integer arguments are decoded. Default `'number'`: one that would be rounded is a CallbackError, and nothing is done. */
  readonly integers?: I | undefined;
}

/** An argument as the handler gets it: a `time` is the text that was passed, a `blob` its bytes. */
export type ArgumentOf<T extends ParameterType, I extends IntegerMode = 'number'> = {
  text: string;
  integer: I extends 'bigint' ? bigint : I extends 'auto' ? number | bigint : number;
  real: number;
  boolean: boolean;
  time: string;
  blob: Uint8Array;
  json: Json;
}[T];

/** The arguments as the handler gets them, by name; an optional one is `undefined` if it was omitted or null. */
export type ArgumentsOf<P extends readonly ActionParameter[], I extends IntegerMode = 'number'> = {
  readonly [E in P[number] as E['name']]: E extends { readonly optional: true } ? ArgumentOf<E['type'], I> | undefined : ArgumentOf<E['type'], I>;
};

/** The handler of an action; see {@link Actions.handler}. */
export type ActionHandler<A> = (context: ActionContext, args: A) => unknown;

/** Computes the identity of a row; see {@link Actions.projection}. */
export type Projection = (row: { readonly [column: string]: JsonParam | undefined }) => { readonly [name: string]: JsonParam | undefined };

/** The projections of one opening, by table in lower case. @internal */
export type Projections = Map<string, Projection>;

/** The result of `perform`. */
export interface Performed<T = Json> {
  /** The pending mutation; undefined if the action wrote nothing to synced tables. */
  readonly id?: string;
  /** The action's return value; null if none. */
  readonly value: T;
}
