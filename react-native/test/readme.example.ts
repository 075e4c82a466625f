/** The examples of the README in order: compiled and run by the tests. */
import { ActionError, Actions, ChangedError, ConstraintError, OfflineError, real, RejoinClient } from '../src/index';
import { places, type PlacesRow, takePart } from './generated/rejoin-schema';

/** Runs the first example until the watch has shown a result. */
export async function tenLines(
  path: string,
  url: string,
  schema: string,
  userId: string,
  shown: { promise: Promise<unknown>; open: (tasks: unknown[]) => void },
): Promise<void> {
  const show = shown.open;

  const client = await RejoinClient.open({ path, server: url, userId, schema });
  await client.start(); // Syncs in the background from now on; being offline is a status, not an error.
  await client.execute('INSERT INTO tasks (id, title) VALUES (rejoin_new_id(), ?)', ['buy milk']);
  const subscription = client.watch('SELECT id, title FROM tasks ORDER BY position', [], {
    onRows: (tasks) => show(tasks), // Now, and after each commit that changes them.
  });
  for (const { id, reason } of await client.queue.parked()) console.warn(`${id} is parked: ${reason}`);

  await shown.promise;
  subscription.cancel();
  await client.shutdown();
}

/** Runs the examples and returns what they read. */
export async function examples(
  path: string,
  url: string,
  schema: string,
  render: (tasks: unknown[]) => void,
): Promise<unknown> {
  const client = await RejoinClient.open({ path, server: url, userId: 'ana', schema });
  await client.start();

  type Task = { id: string; title: string; done: boolean };

  await client.execute('INSERT INTO tasks (id, title) VALUES (?, ?)', ['t1', 'buy milk']);
  const open = await client.query<Task>('SELECT id, title, done FROM tasks WHERE done = ?', [false]);

  await client.transaction(async (tx) => {
    const first = await tx.queryOne<Task>('SELECT id, title, done FROM tasks ORDER BY position LIMIT 1');
    if (first === undefined) throw new Error('nothing to do'); // Rolls back, and arrives at the caller.
    await tx.execute('UPDATE tasks SET done = ? WHERE id = ?', [true, first.id]);
  });

  const subscription = client.watch<Task>('SELECT id, title, done FROM tasks ORDER BY position', [], {
    onRows: (tasks) => render(tasks),
    onError: (error) => console.warn(error.code, error.message),
  });

  for await (const tasks of client.watch<Task>('SELECT id, title, done FROM tasks WHERE done = TRUE')) {
    if (tasks.length > 0) break; // Leaving the loop ends the watch.
  }
  subscription.cancel();

  const status = client.onStatus(({ state }) => console.info(state.kind)); // connecting, up-to-date, offline ...
  try {
    const report = await client.sync.run(10_000);
    console.info(`${report.stillPending} writes wait`);
  } catch (error) {
    if (!(error instanceof OfflineError)) throw error; // The queue is unchanged, and syncing continues in the background.
  }
  status.cancel();

  const row = await client.queryOne('SELECT 9007199254740993 AS big, 1 AS small, typeof(?) AS kind', [real(1)]);
  // { big: 9007199254740993n, small: 1, kind: 'real' }

  try {
    await client.execute('INSERT INTO tasks (id, title) VALUES (?, ?)', ['t1', 'again']);
  } catch (error) {
    if (!(error instanceof ConstraintError)) throw error;
    console.warn(`${error.table}.${error.column} is taken`);
  }

  await client.sync.suspend(); // Before the app goes to the background: no lock is left on the file.
  await client.sync.resume();
  await client.shutdown(); // Do not rely on garbage collection, which may be late.
  return { open, row };
}

/** Runs the examples of actions and verdicts and returns what they read. */
export async function decisions(path: string, url: string, schema: string, userId: string): Promise<unknown> {
  type Task = { id: string; title: string; done: boolean };

  const actions = new Actions()
    .declare({
      name: 'move',
      parameters: [{ name: 'id', type: 'text' }, { name: 'by', type: 'integer' }],
      preconditions: [{ sql: 'SELECT position + :by >= 0 FROM tasks WHERE id = :id', message: 'below zero' }],
      statements: ['UPDATE tasks SET position = position + :by WHERE id = :id'],
      result: 'SELECT position FROM tasks WHERE id = :id',
    })
    .handler(
      { name: 'rename', parameters: [{ name: 'id', type: 'text' }, { name: 'title', type: 'text' }] },
      async (context, { id, title }) => {
        const task = await context.queryOne<Task>('SELECT id, title, done FROM tasks WHERE id = ?', [id]);
        if (task === undefined) throw context.refuse('it is gone');
        await context.execute('UPDATE tasks SET title = ? WHERE id = ?', [title, id]);
      },
    );
  const client = await RejoinClient.open({ path, server: url, userId, schema }, { actions });

  await client.execute('INSERT INTO tasks (id, title) VALUES (?, ?)', ['t2', 'buy nails']);
  const moved = await client.perform<{ position: number }>('move', { id: 't2', by: 2 }); // moved.value: { position: 2 }
  await client.perform('rename', { id: 't9', title: 'screws' }).catch((error: unknown) => {
    if (!(error instanceof ActionError)) throw error;
    console.warn(error.fault, error.detail); // refused, it is gone
  });

  await client.execute('INSERT INTO tasks (id, title) VALUES (?, ?)', ['t3', 'x'.repeat(201)]); // The server accepts 200 characters.
  await client.sync.run();
  for await (const { entries } of client.queue.watchVerdicts()) {
    for (const { id, kind, reason } of entries) if (kind === 'parked') console.warn(id, reason);
    const last = entries.at(-1);
    if (last !== undefined) await client.queue.acknowledgeVerdicts(last.number); // Without this they are reported again, also after a restart.
    if (entries.some(({ kind }) => kind === 'parked')) break;
  }

  for (const parked of await client.queue.parked()) {
    if (parked.reason === 'conflicted') await client.queue.retry(parked.id); // Keep the local edit.
    else if (parked.reason === 'rejected') await client.queue.edit(parked.id, (tx) => tx.execute('UPDATE tasks SET title = substr(title, 1, 200)'));
    else await client.queue.discardChain(parked.id);
  }
  await client.sync.run();
  await client.stop(); // Keeps the undo pending.

  const [newest] = await client.queue.history(1);
  try {
    if (newest !== undefined) await client.queue.undo(newest.id);
  } catch (error) {
    if (!(error instanceof ChangedError)) throw error;
    for (const { table, columns } of error.rows) console.warn(`${table}: ${columns.join(', ')} changed since`);
  }

  const unsent = await client.queue.all();
  const { givenUp } = await client.storage.clearForNextUser(unsent.map(({ id }) => id)); // The next user may have the file.
  await client.shutdown();
  return { moved: moved.value, undone: givenUp.map(({ rows }) => rows[0]?.operation) };
}

/** Runs the example of generated types and returns what it writes. */
export async function generatedTypes(path: string, schema: string, takePartJson: string): Promise<PlacesRow[]> {
  const client = await RejoinClient.open({ path, schema }, { actions: new Actions().declare(takePartJson) });

  const quay: PlacesRow = { id: 'p1', name: 'Quay', in: true, height: 12, visits: 0 };
  await client.execute(places.insert(quay));
  for (const row of (await client.query('SELECT * FROM places')).map(places.fromRow)) {
    await client.execute(places.update({ ...row, open: !row.in })); // Booleans, not 0 and 1.
  }
  await takePart(client, { part: quay.id, quantity: 2 });

  const rows = (await client.query('SELECT * FROM places')).map(places.fromRow);
  await client.shutdown();
  return rows;
}
