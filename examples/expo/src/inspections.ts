/**
 * What the screens read and write: places, visits, the session. No user interface.
 *
 * Each write is one mutation and works offline. What the server rejects is in the queue, parked.
 */
import { followApp, RejoinClient } from '@rejoin/react-native';
import schema from '../schema.json';
import { folder, modules, serverUrl, tokens } from './platform';

/** A place to inspect: a row of {@link PLACES}. */
export interface Place {
  readonly id: string;
  readonly name: string;
  readonly country: string;
  /** 1 if it is inspected, else 0. */
  readonly done: number;
  /** `synced`, `pending`, `sent`, `uncertain` or `parked`. */
  readonly state: string;
}

/** Places whose name contains the parameter: first those with unsent or parked edits, then by name. */
export const PLACES = `SELECT id, name, ifnull(country, '') AS country, status IS 'inspected' AS done, rejoin_row_state('places', id) AS state
  FROM places WHERE instr(lower(name), lower(?)) > 0 ORDER BY state = 'synced', name LIMIT 200`;

/** Opens the database and starts syncing. Throws as `RejoinClient.open`. */
export async function openInspections(): Promise<RejoinClient> {
  // The demo's tokens cannot be renewed: after a rejection, the status asks the user to sign in again.
  // `allowHttp` is for development: remove it, and use https, before you ship.
  const config = { path: `${folder()}/todo.db`, server: serverUrl(), allowHttp: true, schema };
  const client = await RejoinClient.open(config, { tokens: () => tokens.read() });
  followApp(client, modules());
  await client.start();
  return client;
}

export async function signIn(client: RejoinClient, token: string): Promise<void> {
  await tokens.save(token.trim());
  await client.start();
  await client.sync.credentialsChanged();
}

/** Signs out and empties the file, unless mutations would be lost. Returns their number; 0 if the user is signed out. */
export async function signOut(client: RejoinClient, { discardUnsent }: { discardUnsent: boolean }): Promise<number> {
  await client.stop();
  const unsent = (await client.queue.all()).map(({ id }) => id);
  if (unsent.length > 0 && !discardUnsent) {
    await client.start();
    return unsent.length;
  }
  await client.storage.reset('local', unsent);
  await tokens.clear();
  return 0;
}

export async function addPlace(client: RejoinClient, name: string): Promise<void> {
  await client.execute("INSERT INTO places (id, name, status) VALUES (rejoin_new_id(), ?, 'open')", [name]);
}

export async function setDone(client: RejoinClient, { id }: Place, done: boolean): Promise<void> {
  await client.execute('UPDATE places SET status = ? WHERE id = ?', [done ? 'inspected' : 'open', id]);
}

/** Deletes a place with its visits and their notes: one mutation. */
export async function deletePlace(client: RejoinClient, { id }: Place): Promise<void> {
  await client.transaction(async (tx) => {
    await tx.execute('DELETE FROM notes WHERE visit_id IN (SELECT id FROM visits WHERE place_id = ?)', [id]);
    await tx.execute('DELETE FROM visits WHERE place_id = ?', [id]);
    await tx.execute('DELETE FROM places WHERE id = ?', [id]);
  });
}

/** The server accepts scores from 0 to 100 only; this device does not have that rule. */
export async function addVisit(client: RejoinClient, { id }: Place, score: number): Promise<void> {
  const now = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')";
  await client.execute(`INSERT INTO visits (id, place_id, visited_at, score) VALUES (rejoin_new_id(), ?, ${now}, ?)`, [id, score]);
}
