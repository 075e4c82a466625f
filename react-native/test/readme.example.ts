/** The examples of the README, in order, so that they compile and run. */
import { ConstraintError, real, RejoinClient } from '../src/index';

/** Runs them, and gives what they have seen. */
export async function examples(
  path: string,
  serverUrl: string,
  schemaJson: string,
  render: (tasks: unknown[]) => void,
): Promise<unknown> {
  const client = await RejoinClient.open({ path, serverUrl, userId: 'u1', schemaJson });
  await client.start(); // Syncs in the background from here on; offline is a status, not an error.

  type Task = { id: string; title: string; done: number };

  await client.execute('INSERT INTO task (id, user_id, title) VALUES (?, ?, ?)', ['t1', 'u1', 'buy milk']);
  const open = await client.query<Task>('SELECT id, title, done FROM task WHERE done = ?', [false]);

  await client.transaction(async (tx) => {
    const first = await tx.queryOne<Task>('SELECT * FROM task ORDER BY rank LIMIT 1');
    if (first === undefined) throw new Error('nothing to do'); // Rolls back, and arrives at the caller.
    await tx.execute('UPDATE task SET done = ? WHERE id = ?', [true, first.id]);
  });

  const subscription = client.watch<Task>('SELECT * FROM task ORDER BY rank', [], {
    onRows: (tasks) => render(tasks),
    onError: (error) => console.warn(error.code, error.message),
  });

  for await (const tasks of client.watch<Task>('SELECT * FROM task WHERE done = 1')) {
    if (tasks.length > 0) break; // Leaving the loop ends the watch.
  }
  subscription.cancel();

  const row = await client.queryOne('SELECT 9007199254740993 AS big, 1 AS small, typeof(?) AS kind', [real(1)]);
  // { big: 9007199254740993n, small: 1, kind: 'real' }

  try {
    await client.execute('INSERT INTO task (id, user_id, title) VALUES (?, ?, ?)', ['t1', 'u1', 'again']);
  } catch (error) {
    if (!(error instanceof ConstraintError)) throw error;
    console.warn(`${error.table}.${error.column} is taken`);
  }

  await client.suspend(); // Before the app goes to the background: no lock is left on the file.
  await client.resume();
  await client.shutdown(); // Not left to garbage collection, which may be late.
  return { open, row };
}
