/** Equality by value, kept rows, values by their declared type, and the statement of an edit: without an engine. */
import { expect, test } from 'vitest';
import { encode, keepItems, keepRows } from '../src/identity';
import { declared } from '../src/parked-reading';
import { updateRow } from '../src/parked-types';

test('encode differs if and only if the values do', () => {
  const values = [0, -0, 1, '1', 1n, true, 'true', null, 'null', undefined, [], [1], ['1'], [[1]], {}, { a: 1 }, { b: 1 }, 'a,b', ['a', 'b'], '"'];
  const bytes = [new Uint8Array(), new Uint8Array([1]), new Uint8Array([1, 2]), new Uint8Array([12])];
  const texts = [...values, ...bytes].map(encode);
  expect(new Set(texts).size).toBe(texts.length);
  expect([...structuredClone(values), ...structuredClone(bytes)].map(encode)).toEqual(texts);
});

test('keepRows pairs rows with equal keys in order', () => {
  const before = [{ k: 1, v: 'a' }, { k: 1, v: 'b' }, { k: 2, v: 'c' }];
  const after = [{ k: 2, v: 'c' }, { k: 1, v: 'changed' }, { k: 1, v: 'b' }, { k: 1, v: 'new' }];
  const kept = keepRows(before, after, ['k'], { added: [3], changed: [1], removed: [] });
  expect(kept).toEqual(after);
  expect(kept.map((row) => before.indexOf(row as never))).toEqual([2, -1, 1, -1]);
});

test('keepRows takes no row from before a restart', () => {
  // The first result of a watch is compared with nothing, so all its rows are added.
  const kept = keepRows([{ k: 1, v: 'old' }], [{ k: 1, v: 'new' }], ['k'], { added: [0], changed: [], removed: [] });
  expect(kept).toEqual([{ k: 1, v: 'new' }]);
});

test('keepItems keeps the list if nothing has changed', () => {
  const before = [{ id: 'a', n: 1 }, { id: 'b', n: 2 }];
  expect(keepItems(before, structuredClone(before))).toBe(before);
  const after = keepItems(before, [{ id: 'b', n: 2 }, { id: 'a', n: 3 }]);
  expect(after).toEqual([{ id: 'b', n: 2 }, { id: 'a', n: 3 }]);
  expect(after[0]).toBe(before[1]);
  expect(keepItems(before, before.slice(0, 1))).toEqual([{ id: 'a', n: 1 }]);
});

test('declared has the type of the column', () => {
  expect([declared(1, 'BOOLEAN'), declared(0n, 'BOOLEAN'), declared(2, 'BOOLEAN'), declared(1, 'INTEGER')]).toEqual([true, false, 2, 1]);
});

test('updateRow quotes names and passes values as parameters', () => {
  const row = { table: 'a"b', key: 7, keyColumn: 'the id', operation: 'update', exists: true, columns: [] } as const;
  expect(updateRow(row, { 'x"y': null, z: 'it"s' })).toEqual({
    sql: 'UPDATE "a""b" SET "x""y" = ?, "z" = ? WHERE "the id" = ?',
    params: [null, 'it"s', 7],
  });
  expect(() => updateRow({ ...row, keyColumn: undefined }, { z: 1 })).toThrow('there is no table a"b');
});
