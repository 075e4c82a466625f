/** A Node program with the packed package: it writes and reads a file with the real engine. The compiler checks it, and it runs. */
import { ConfigurationError, RejoinClient, RejoinConfig } from '@rejoin/react-native';

type Task = { id: number; title: string };

try {
  const client = await RejoinClient.open(RejoinConfig.temporary());
  await client.schema.createTable('task', 'id INTEGER PRIMARY KEY, title TEXT');
  await client.execute('INSERT INTO task (title) VALUES (?)', ['first']);
  for await (const tasks of client.watch<Task>('SELECT * FROM task')) {
    const title: string | undefined = tasks[0]?.title;
    // @ts-expect-error A wrong type is an error: the types are not `any`.
    const wrong: number | undefined = tasks[0]?.title;
    console.log(`read ${title ?? wrong}`);
    break;
  }
  await client.shutdown();
} catch (error) {
  if (!(error instanceof ConfigurationError)) throw error;
  console.log(`${error.code}: ${error.message}`);
}
