/** Subscriptions to streams on the real engine, offline and with a server that has another stream. tests/scenarios/streams.json loads rows. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { InvalidInputError, type StreamSubscription, type SubscribedStream, SubscriptionRefusedError } from '../src/index';
import { device, newUser } from './support/devices';
import { StoryServer } from './support/server';
import { opened, until, within } from './support/world';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

test('subscription waits offline and is listed until it ends', async () => {
  const client = await opened();
  const seen: SubscribedStream[][] = [];
  const observer = client.sync.onSubscriptions((list) => seen.push(list));
  const project = await client.sync.subscribe('project', { project: 42 }, { ttlMs: 60_000, priority: 1 });
  expect(project).toMatchObject({ stream: 'project', parameters: { project: '42' }, status: { kind: 'waiting' } });
  const listed = { stream: 'project', parameters: { project: '42' }, priority: 1, ttlMs: 60_000, status: { kind: 'waiting' } };
  expect(client.sync.subscriptions()).toEqual([listed]);
  await until(() => seen.at(-1)?.length === 1, 'the observer gets the list');
  expect(seen.at(-1)).toEqual([listed]);
  for (let times = 0; times < 2; times += 1) project.release();
  expect(client.sync.subscriptions()).toMatchObject([{ endsMs: expect.any(Number) }]);
  await expect(project.firstSync(0)).rejects.toThrow(InvalidInputError);
  const again = await client.sync.subscribe('project', { project: '42' });
  for (let times = 0; times < 2; times += 1) await again.unsubscribe();
  expect(client.sync.subscriptions()).toEqual([]);
  observer.cancel();
});

test('parameters are texts and whole numbers', async () => {
  const client = await opened();
  const { parameters } = await client.sync.subscribe('all', { a: 'x', b: -(2n ** 63n), c: 2 ** 53 - 1 });
  expect(parameters).toEqual({ a: 'x', b: '-9223372036854775808', c: '9007199254740991' });
  const wrong: (() => Promise<StreamSubscription>)[] = [
    () => client.sync.subscribe('all', { a: 0.5 }),
    () => client.sync.subscribe('all', { a: 2 ** 53 }),
    () => client.sync.subscribe('all', { a: null as never }),
    () => client.sync.subscribe('all', {}, { ttlMs: -1 }),
    () => client.sync.subscribe('all', {}, { priority: 256 }),
    () => client.sync.subscribe(''),
    () => client.sync.subscribe('all', { a: 'x'.repeat(7_000) }),
  ];
  for (const subscribe of wrong) await expect(subscribe()).rejects.toThrow(InvalidInputError);
  expect(client.sync.subscriptions().length).toBe(1);
});

test('server without the stream refuses the subscription', async () => {
  const client = await device(server, newUser());
  const project = await client.sync.subscribe('project', { project: 42 });
  const refused: unknown = await within(project.firstSync(), 'the refusal').catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(SubscriptionRefusedError);
  const { stream, refusal, detail, message } = refused as SubscriptionRefusedError;
  expect([stream, refusal]).toEqual(['project', 'unknown-stream']);
  expect(message).toContain(detail);
  expect(project.status).toEqual({ kind: 'refused', code: refusal, message: detail });
  project.release();
});
