/** The examples of the README, as an app has them; `readme.test.ts` compares and runs them. */
import type { RejoinClient } from '@rejoin/react-native';
import { type Collection, createCollection, createTransaction } from '@tanstack/db';
import { rejoinCollectionOptions, type RejoinCollectionUtils, rejoinMutationFn } from '../src/index';

/** As `rejoin generate` writes it. */
type TasksRow = { id: string; owner_id?: string | null; title: string; done: boolean; position: number | bigint; updated_at?: string | null };

type Tasks = Collection<TasksRow, string | number, RejoinCollectionUtils, never, TasksRow>;

export async function first(client: RejoinClient, warn: (text: string) => void): Promise<Tasks> {
  const tasks = createCollection(
    rejoinCollectionOptions<TasksRow>({
      client,
      table: 'tasks',
      key: 'id',
      onParked: ({ reason, detail }) => warn(`not accepted: ${reason} ${detail?.message ?? ''}`),
    }),
  );

  await tasks.preload();
  tasks.insert({ id: 't1', title: 'buy milk', done: false, position: 1 }); // In the collection at once, also offline.
  await tasks.update('t1', (draft) => void (draft.done = true)).isPersisted.promise; // On disk, and in the queue for the server.
  return tasks;
}

export async function decide(client: RejoinClient, tasks: Tasks): Promise<void> {
  for (const { id, reason } of await tasks.utils.parked()) {
    if (reason === 'conflicted') await client.queue.retryChain(id); // The user's values win.
    else await client.queue.discardChain(id);
  }
}

export async function deleteBoth(tasks: Tasks, drafts: Collection<{ id: string }, string | number>): Promise<void> {
  const transaction = createTransaction({ mutationFn: rejoinMutationFn });
  transaction.mutate(() => {
    drafts.delete('d1');
    tasks.delete('t1');
  });
  await transaction.isPersisted.promise;
}
