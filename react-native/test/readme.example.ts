/** The examples of the README in order: compiled and run by the tests. */
import { ActionError, Actions, ChangedError, ConstraintError, real, RejoinClient } from '../src/index';
import { places, type PlacesRow, takePart } from './generated/rejoin-schema';

/** Runs the first example until the watch has shown a result. */
export async function tenLines(
  path: string,
  serverUrl: string,
  schema: string,
  session: { token(refresh: boolean): Promise<string> },
  shown: { promise: Promise<unknown>; open: (places: unknown[]) => void },
): Promise<void> {
  const show = shown.open;

  const client = await RejoinClient.open({ path, serverUrl, schema }, { tokens: (refresh) => session.token(refresh) });
  await client.start(); // Syncs in the background from now on; being offline is a status, not an error.
  await client.execute('UPDATE places SET note = ? WHERE id = ?', ['closed on Mondays', 'p1']);
  const subscription = client.watch('SELECT id, name, note FROM places ORDER BY name', [], {
    onRows: (places) => show(places), // Now, and after each commit that changes them.
  });
  for (const { id, state, reason } of await client.queue.pending()) {
    if (state === 'parked') console.warn(`${id} is parked: ${reason}`);
  }

  await shown.promise;
  subscription.cancel();
  await client.shutdown();
}

/** Runs the examples and returns what they read. */
export async function examples(
  path: string,
  serverUrl: string,
  schema: string,
  render: (tasks: unknown[]) => void,
): Promise<unknown> {
  const client = await RejoinClient.open({ path, serverUrl, userId: 'u1', schema });
  await client.start();

  type Task = { id: string; title: string; done: boolean };

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

  await client.sync.suspend(); // Before the app goes to the background: no lock is left on the file.
  await client.sync.resume();
  await client.shutdown(); // Do not rely on garbage collection, which may be late.
  return { open, row };
}

/** Runs the examples of actions and verdicts and returns what they read. */
export async function decisions(path: string, serverUrl: string, schema: string): Promise<unknown> {
  type Task = { id: string; title: string; done: boolean };

  const actions = new Actions()
    .declare({
      name: 'rank',
      parameters: [{ name: 'id', type: 'text' }, { name: 'by', type: 'integer' }],
      preconditions: [{ sql: 'SELECT rank + :by >= 0 FROM task WHERE id = :id', message: 'below zero' }],
      statements: ['UPDATE task SET rank = rank + :by WHERE id = :id'],
      result: 'SELECT rank FROM task WHERE id = :id',
    })
    .handler(
      { name: 'rename', parameters: [{ name: 'id', type: 'text' }, { name: 'title', type: 'text' }] },
      async (context, { id, title }) => {
        const task = await context.queryOne<Task>('SELECT * FROM task WHERE id = ?', [id]);
        if (task === undefined) throw context.refuse('it is gone');
        await context.execute('UPDATE task SET title = ? WHERE id = ?', [title, id]);
      },
    );
  const client = await RejoinClient.open({ path, serverUrl, userId: 'u2', schema }, { actions });

  await client.execute('INSERT INTO task (id, user_id, title) VALUES (?, ?, ?)', ['t2', 'u2', 'nails']);
  const ranked = await client.perform<{ rank: number }>('rank', { id: 't2', by: 2 }); // ranked.value: { rank: 2 }
  await client.perform('rename', { id: 't9', title: 'screws' }).catch((error: unknown) => {
    if (!(error instanceof ActionError)) throw error;
    console.warn(error.fault, error.detail); // refused, it is gone
  });

  await client.execute('INSERT INTO task (id, user_id, title) VALUES (?, ?, ?)', ['t3', 'u2', 'refused']);
  await client.sync.andWait();
  for await (const { entries } of client.queue.watchVerdicts()) {
    for (const { id, kind, reason } of entries) if (kind === 'parked') console.warn(id, reason);
    const last = entries.at(-1);
    if (last !== undefined) await client.queue.acknowledgeVerdicts(last.number); // Without this they are reported again, also after a restart.
    if (entries.some(({ kind }) => kind === 'parked')) break;
  }

  for (const parked of await client.queue.pending()) {
    if (parked.reason === 'conflicted') await client.queue.retry(parked.id); // Keep the local edit.
    else if (parked.reason === 'rejected') await client.queue.edit(parked.id, (tx) => tx.execute("UPDATE task SET title = 'good' WHERE id = 't3'"));
    else await client.queue.discardChain(parked.id);
  }
  await client.sync.andWait();
  await client.stop(); // Keeps the undo pending.

  const [newest] = await client.queue.history(1);
  try {
    if (newest !== undefined) await client.queue.undo(newest.id);
  } catch (error) {
    if (!(error instanceof ChangedError)) throw error;
    for (const { table, columns } of error.rows) console.warn(`${table}: ${columns.join(', ')} changed since`);
  }

  const unsent = await client.queue.pending();
  const { givenUp } = await client.storage.reset('local', unsent.map(({ id }) => id)); // The next user may have the file.
  await client.shutdown();
  return { ranked: ranked.value, undone: givenUp.map(({ rows }) => rows[0]?.operation) };
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
