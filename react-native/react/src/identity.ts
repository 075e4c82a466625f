/**
 * Equality by value, and rows and mutations that keep their identity while they are equal.
 *
 * Pure functions.
 */
import type { RowDifference } from '@rejoin/react-native';

/** A text that is equal for two values if and only if they are equal by content and type: parameters, mutations, a status. */
export function encode(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (value instanceof Uint8Array) return `x${value.join()}`;
  if (Array.isArray(value)) return `[${value.map(encode).join()}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}:${encode(member)}`).join()}}`;
  }
  if (typeof value === 'bigint') return `${value}n`;
  return Object.is(value, -0) ? '-0' : String(value);
}

/** The rows of a result, with the objects of the previous result for unchanged rows. Rows with equal keys are paired in order. */
export function keepRows<T>(before: readonly T[], after: readonly T[], key: readonly string[], difference: RowDifference): readonly T[] {
  const nameOf = (row: T): string => encode(key.map((column) => (row as Record<string, unknown>)[column]));
  const old = new Map<string, T[]>();
  for (const row of before) {
    const name = nameOf(row);
    const equal = old.get(name);
    if (equal === undefined) old.set(name, [row]);
    else equal.push(row);
  }
  const [added, changed] = [new Set(difference.added), new Set(difference.changed)];
  return after.map((row, at) => {
    if (added.has(at)) return row;
    const kept = old.get(nameOf(row))?.shift();
    return kept === undefined || changed.has(at) ? row : kept;
  });
}

/** The items of a list, with the previous object for each that is equal; the previous list if all are. */
export function keepItems<T extends { readonly id: string }>(before: readonly T[], after: readonly T[]): readonly T[] {
  const old = new Map(before.map((item) => [item.id, item]));
  const kept = after.map((item) => {
    const same = old.get(item.id);
    return same !== undefined && encode(same) === encode(item) ? same : item;
  });
  return kept.length === before.length && kept.every((item, at) => item === before[at]) ? before : kept;
}
