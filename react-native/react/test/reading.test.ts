/** Values that are read again after changes: with a client whose reads and changes are controlled. */
import { type Change, Subscription } from '@rejoin/react-native';
import { expect, test } from 'vitest';
import { gate } from '../../test/support/world';
import type { SyncedDatabase } from '../src/index';
import { reading } from '../src/reading';
import { shared } from '../src/store';

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

test('changes during a read lead to one more read', async () => {
  let change: () => void = () => undefined;
  const onChange: SyncedDatabase['onChange'] = (_, observer) => {
    change = () => void observer({ origin: 'local', tables: [], queue: true } satisfies Change);
    return new Subscription(() => undefined);
  };
  const client = { onChange } as SyncedDatabase;
  const reads: ReturnType<typeof gate<number>>[] = [];
  const read = (): Promise<number> => {
    reads.push(gate<number>());
    return reads.at(-1)!.promise;
  };
  const store = shared(client, 'a', () => reading(client, -1, { read, concerns: ({ queue }) => queue, keep: (_, after) => after }));
  const unsubscribe = store.subscribe(() => undefined);
  change();
  change();
  expect(reads.length).toBe(1);
  reads[0]?.open(1);
  await turn();
  expect([store.get().value, reads.length]).toEqual([1, 2]);
  const failure = new Error('no disk');
  reads[1]?.fail(failure);
  await turn();
  expect(store.get()).toEqual({ value: 1, isLoading: false, error: failure });
  change();
  reads[2]?.open(1);
  await turn();
  expect(store.get().error).toBeUndefined();
  expect(reads.length).toBe(3);
  unsubscribe();
});
