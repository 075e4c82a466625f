// @vitest-environment happy-dom
/** The inspector on the real engine, with real conflicts and verdicts of the server. */
import type { RejoinClient } from '@rejoin/react-native';
import { fireEvent, render, screen, within as inside } from '@testing-library/react';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CREATE, device, newUser, sync } from '../../test/support/devices';
import { StoryServer } from '../../test/support/server';
import { gate, opened, until } from '../../test/support/world';
import { RejoinInspector } from '../src/inspector/index';
import { provide } from './support/hooks';

let server: StoryServer;
beforeAll(async () => {
  server = await StoryServer.start();
});
afterAll(() => server.quit());

interface Scene {
  readonly user: string;
  readonly phone: RejoinClient;
}

const show = (client: RejoinClient): void => void render(<RejoinInspector />, { wrapper: provide(client) });
const section = (title: string): HTMLElement => screen.getByRole('heading', { name: title }).parentElement!;
const has = (title: string, text: string): boolean => section(title).textContent.includes(text);
const shows = (title: string, text: string): Promise<void> => until(() => has(title, text), `${title} shows ${text}`);
const button = (title: string, name: string | RegExp): HTMLElement => inside(section(title)).getByRole('button', { name });
const press = (title: string, name: string | RegExp): void => void fireEvent.click(button(title, name));
const alert = (title: string): string => inside(section(title)).queryByRole('alert')?.textContent ?? '';
const titleOf = async (client: RejoinClient): Promise<unknown> => (await client.queryOne('SELECT title FROM task'))?.['title'];

/** Both devices changed the title of one task, and the phone, which shows the inspector, came second. */
async function conflict(): Promise<Scene> {
  const user = newUser();
  const [phone, tablet] = [await device(server, user), await device(server, user)];
  show(phone);
  await phone.execute(CREATE, [`${user}-1`, user, 'first']);
  await sync(phone, tablet);
  await tablet.execute("UPDATE task SET title = '<script>theirs</script>'");
  await phone.execute("UPDATE task SET title = 'mine', note = 'my note'");
  await sync(tablet, phone);
  await shows('Parked', 'Reason: conflicted');
  return { user, phone };
}

test('conflict shows both values of each column', async () => {
  const { user } = await conflict();
  const column = (name: string): string => inside(section('Parked')).getByText(name).parentElement!.textContent;
  expect(column('title (conflict)')).toBe('title (conflict)Mine: "mine"Theirs: "<script>theirs</script>"');
  expect(column('note')).toBe('noteMine: "my note"Theirs: null');
  expect(has('Parked', `update task "${user}-1"`)).toBe(true);
  // Each section has a watch of its own.
  await shows('Queue', '0 pending, 0 sent, 0 uncertain, 1 parked');
  expect(document.querySelector('script')).toBeNull();
});

test('keep mine sends it again', async () => {
  const { user } = await conflict();
  press('Parked', `Keep mine: update task "${user}-1"`);
  // Only one decision runs at a time.
  expect(button('Parked', /^Take theirs/).getAttribute('aria-disabled')).toBe('true');
  await shows('Parked', 'No mutation waits for a decision');
  await shows('Queue', '1 pending, 0 sent, 0 uncertain, 0 parked');
  expect(section('Queue').textContent).toContain('title: "first" -> "mine"');
  press('Status', 'Sync now');
  await shows('Status', '1 accepted, 0 parked, ');
  expect(await server.rows(`SELECT title FROM task WHERE user_id = '${user}'`)).toEqual([['mine']]);
});

test('take theirs removes it', async () => {
  const { phone } = await conflict();
  press('Parked', /^Take theirs/);
  await shows('Parked', 'No mutation waits for a decision');
  expect(await titleOf(phone)).toBe('<script>theirs</script>');
  expect(await phone.queue.all()).toEqual([]);
});

test('rejected create shows the reason and its dependents', async () => {
  const user = newUser();
  const phone = await device(server, user);
  show(phone);
  await phone.execute(CREATE, [`${user}-1`, user, 'refused']);
  await phone.execute("UPDATE task SET note = 'more'");
  const dependent = (await phone.queue.all())[1];
  await sync(phone);
  await shows('Parked', 'Reason: rejected: CHECK constraint failed');
  expect(has('Parked', `insert task "${user}-1", which does not exist without it`)).toBe(true);
  expect(has('Parked', 'titleMine: "refused"Theirs: no row')).toBe(true);
  await shows('Parked', `Decided with it: #${dependent?.seq}`);
  press('Parked', /^Take theirs/);
  await shows('Parked', 'No mutation waits for a decision');
  expect(await phone.queue.all()).toEqual([]);
});

test('history undoes a mutation', async () => {
  const user = newUser();
  const phone = await device(server, user);
  show(phone);
  await shows('History', 'No accepted mutations');
  await phone.execute(CREATE, [`${user}-1`, user, 'before']);
  await phone.execute("UPDATE task SET title = 'after'");
  await sync(phone);
  await shows('History', 'title: "before" -> "after"');
  press('History', `Undo: update task "${user}-1"`);
  await shows('History', 'A new mutation undoes it.');
  expect(await titleOf(phone)).toBe('before');
  await phone.execute("UPDATE task SET title = 'newer'");
  await sync(phone);
  await shows('History', 'accepted, reverts ');
  // Its columns have changed since.
  const [, first] = inside(section('History')).getAllByRole('button', { name: /^Undo: update task/ });
  fireEvent.click(first!);
  await until(() => alert('History').startsWith('Changed: '), 'the error');
  expect(await titleOf(phone)).toBe('newer');
});

test('buttons are disabled while one runs, and show its error', async () => {
  const refusal = gate<never>();
  const client = await opened({ server: server.url, schema: server.schema }, { tokens: () => refusal.promise });
  show(client);
  press('Status', 'Sync now');
  await until(() => button('Status', 'Sync now').getAttribute('aria-disabled') === 'true', 'the run');
  expect(button('Status', 'Sync now').getAttribute('aria-busy')).toBe('true');
  expect(alert('Status')).toBe('');
  refusal.fail(new Error('signed out'));
  await until(() => alert('Status') !== '', 'the error');
  expect(alert('Status')).toMatch(/^[A-Z][A-Za-z]+: /);
  expect(button('Status', 'Sync now').getAttribute('aria-disabled')).toBe('false');
});

test('diagnosis is shown as text', async () => {
  const client = await opened();
  show(client);
  press('Diagnosis', 'Diagnose');
  await shows('Diagnosis', '"counters": {');
});

test('closed client shows its error', async () => {
  const client = await opened();
  await client.shutdown();
  show(client);
  for (const title of ['Queue', 'Parked', 'History']) {
    await until(() => alert(title).startsWith('Closed: '), `the error of ${title}`);
  }
  await shows('Status', 'State: stopped');
  press('Diagnosis', 'Diagnose');
  await until(() => alert('Diagnosis').startsWith('Closed: '), 'the error of the button');
});

test('long queue shows its first entries', async () => {
  const user = newUser();
  const phone = await device(server, user);
  show(phone);
  for (let at = 1; at <= 22; at += 1) await phone.execute(CREATE, [`${user}-${at}`, user, 'x'.repeat(300)]);
  await shows('Queue', '22 pending, ');
  expect(has('Queue', `insert task "${user}-20"`)).toBe(true);
  expect(has('Queue', `insert task "${user}-21"`)).toBe(false);
  expect(has('Queue', '2 more')).toBe(true);
  expect(has('Queue', 'x'.repeat(201))).toBe(false);
});
