/** Devices of the real server that sync only on request. */
import type { RejoinClient, RejoinConfig, Services } from '../../src/index';
import type { StoryServer } from './server';
import { opened, within } from './world';

let users = 0;

/** A new user, so that no test sees rows of another. */
export const newUser = (): string => `user-${(users += 1)}`;

/** A device of a user with a bundled schema. */
export function device(server: StoryServer, user: string, config: Partial<RejoinConfig> = {}, services: Services = {}): Promise<RejoinClient> {
  const { url, schema } = server;
  return opened({ server: url, schema, userId: user, syncIntervalMs: 3_600_000, pushDebounceMs: 0, ...config }, services);
}

/** Syncs the devices in order and stops their syncing. */
export async function sync(...devices: RejoinClient[]): Promise<void> {
  for (const each of devices) {
    await within(each.sync.run(), 'syncing');
    await each.stop();
  }
}

/** Writes and returns the id of the mutation. */
export async function wrote(client: RejoinClient, sql: string, params: (string | number)[] = []): Promise<string> {
  await client.execute(sql, params);
  return (await client.queue.all()).at(-1)?.id ?? '';
}

/** Inserts a task of a user. */
export const CREATE = 'INSERT INTO task (id, user_id, title) VALUES (?, ?, ?)';

/** The titles of all tasks, in order. */
export async function titles(client: RejoinClient): Promise<string[]> {
  return (await client.query<{ title: string }>('SELECT title FROM task ORDER BY id')).map(({ title }) => title);
}

/** Why the mutations in the queue are parked; `undefined` for a pending one. */
export async function reasons(client: RejoinClient): Promise<(string | undefined)[]> {
  return (await client.queue.all()).map(({ reason }) => reason);
}
