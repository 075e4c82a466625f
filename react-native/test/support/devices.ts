/** Devices of users of the real server, which sync when a story says so and else are still. */
import type { ClientConfig, RejoinClient, Services } from '../../src/index';
import type { StoryServer } from './server';
import { opened, within } from './world';

let users = 0;

/** Somebody new, so that no story sees another's rows. */
export const somebody = (): string => `user-${(users += 1)}`;

/** A device of a user, whose schema came with the app. */
export function device(server: StoryServer, user: string, config: Partial<ClientConfig> = {}, services: Services = {}): Promise<RejoinClient> {
  const { url: serverUrl, schemaJson } = server;
  return opened({ serverUrl, schemaJson, userId: user, syncIntervalMs: 3_600_000, pushDebounceMs: 0, ...config }, services);
}

/** Syncs, and is still afterwards. */
export async function sync(...devices: RejoinClient[]): Promise<void> {
  for (const each of devices) {
    await within(each.syncAndWait(), 'syncing');
    await each.stop();
  }
}

/** Writes, and tells the id of the mutation. */
export async function wrote(client: RejoinClient, sql: string, params: (string | number)[] = []): Promise<string> {
  await client.execute(sql, params);
  return (await client.pending()).at(-1)?.id ?? '';
}

/** A task of a user. */
export const CREATE = 'INSERT INTO task (id, user_id, title) VALUES (?, ?, ?)';

/** The titles of all tasks, in order. */
export async function titles(client: RejoinClient): Promise<string[]> {
  return (await client.query<{ title: string }>('SELECT title FROM task ORDER BY id')).map(({ title }) => title);
}

/** Why the mutations in the queue are parked; `undefined` for one that waits. */
export async function reasons(client: RejoinClient): Promise<(string | undefined)[]> {
  return (await client.pending()).map(({ reason }) => reason);
}
