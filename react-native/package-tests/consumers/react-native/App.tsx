/** An app that uses each package; the compiler checks it against the packed types and two versions of React Native. */
import NetInfo from '@react-native-community/netinfo';
import { drizzle } from '@rejoin/drizzle';
import { RejoinDialect, watchQuery } from '@rejoin/kysely';
import { RejoinProvider, useParkedWrites, useQuery, useSyncStatus } from '@rejoin/react';
import { RejoinInspector } from '@rejoin/react/inspector';
import { Actions, ConstraintError, followApp, RejoinClient, type RejoinDatabase, type Row, type Subscription } from '@rejoin/react-native';
import { rejoinCollectionOptions } from '@rejoin/tanstack-db';
import { createCollection } from '@tanstack/db';
import { Kysely } from 'kysely';
import type { ReactElement } from 'react';
import { Text, View } from 'react-native';

type Task = { id: string; title: string };

const actions = new Actions().handler({ name: 'rename', parameters: [{ name: 'title', type: 'text' }] }, async (context, { title }) => {
  const length: number = title.length;
  await context.execute('UPDATE task SET title = ? WHERE length(title) < ?', [title, length]);
});

export async function open(path: string, schema: object): Promise<[RejoinClient, Subscription]> {
  const client = await RejoinClient.open({ path, schema }, { actions, tokens: async (refresh) => (refresh ? undefined : 'token') });
  return [client, followApp(client, { NetInfo })];
}

export async function write(database: RejoinDatabase): Promise<Row[]> {
  try {
    return await database.transaction(async (tx) => {
      await tx.execute('INSERT INTO task VALUES (?, ?, ?)', ['t1', 2n ** 60n, new Uint8Array(1)]);
      return tx.query('SELECT * FROM task');
    });
  } catch (error) {
    if (!(error instanceof ConstraintError)) throw error;
    const column: string | undefined = error.column;
    // @ts-expect-error A wrong type is an error: the types are not `any`.
    const wrong: number = error.column;
    throw new Error(`${column} ${wrong}`);
  }
}

export async function adapters(client: RejoinClient): Promise<void> {
  const kysely = new Kysely<{ task: Task }>({ dialect: new RejoinDialect(client) });
  const rows: { title: string }[] = await kysely.selectFrom('task').select('title').execute();
  // @ts-expect-error The collection has no such key.
  createCollection(rejoinCollectionOptions<Task>({ client, table: 'task', key: 'none' }));
  const collection = createCollection(rejoinCollectionOptions<Task>({ client, table: 'task', key: 'id' }));
  const found: Task | undefined = collection.get('t1');
  await drizzle(client).transaction(async () => void [rows, found, watchQuery]);
}

function Tasks(): ReactElement {
  const { rows } = useQuery<Task>('SELECT id, title FROM task');
  // @ts-expect-error A row has no such member.
  const none: unknown = rows[0]?.none;
  const { state } = useSyncStatus();
  const { writes } = useParkedWrites();
  return <Text>{`${rows[0]?.title} ${state.kind} ${writes.length} ${String(none)}`}</Text>;
}

export const App = ({ client }: { readonly client: RejoinClient }): ReactElement => (
  <RejoinProvider client={client}>
    <View>
      <Tasks />
      <RejoinInspector />
    </View>
  </RejoinProvider>
);
