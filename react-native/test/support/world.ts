/** Test helpers: temporary folders, clients that are shut down after the test, timeouts of promises. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from 'vitest';
import { RejoinClient, type RejoinConfig, type Services } from '../../src/index';

const folders: string[] = [];
const open: RejoinClient[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => within(client.shutdown(), 'shutting down after the test')));
});

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A new empty folder, removed after the tests. */
export function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'rejoin-'));
  folders.push(made);
  return made;
}

/** A client on a new file, shut down after the test. */
export async function opened(config: Partial<RejoinConfig> = {}, services: Services = {}): Promise<RejoinClient> {
  const client = await within(RejoinClient.open({ path: join(folder(), 'a.db'), ...config }, services), 'opening');
  open.push(client);
  return client;
}

/** A client with a local-only table `task`. */
export async function withTasks(config: Partial<RejoinConfig> = {}): Promise<RejoinClient> {
  const client = await opened(config);
  await client.schema.createTable('task', 'id TEXT PRIMARY KEY, title TEXT NOT NULL, rank INTEGER DEFAULT 0');
  return client;
}

export const INSERT = 'INSERT INTO task (id, title) VALUES (?, ?)';

/** The number of committed tasks. */
export async function count(client: RejoinClient): Promise<number> {
  const row = await client.queryOne<{ n: number }>('SELECT count(*) AS n FROM task');
  return row?.n ?? -1;
}

/** Awaits a promise with a timeout whose error names it, so that a hanging promise fails the test. */
export async function within<T>(promise: Promise<T>, what: string, milliseconds = 20_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`stuck for ${milliseconds} ms: ${what}`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A promise that is settled from outside. */
export function gate<T = void>(): { promise: Promise<T>; open: (value: T) => void; fail: (error: Error) => void } {
  let settle!: (value: T) => void;
  let fail!: (error: Error) => void;
  const promise = new Promise<T>((resolve, reject) => ([settle, fail] = [resolve, reject]));
  promise.catch(() => undefined);
  return { promise, open: settle, fail };
}

/** Polls until the condition is true. */
export async function until(condition: () => boolean | Promise<boolean>, what: string, milliseconds = 20_000): Promise<void> {
  const deadline = performance.now() + milliseconds;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
