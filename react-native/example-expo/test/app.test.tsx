// @vitest-environment happy-dom
/** The app of examples/expo: its start, sign-in and sign-out, the device around it, the developer screen. */
import { RejoinClient } from '@rejoin/react-native';
import { render, screen } from '@testing-library/react';
import { expect, test, vi } from 'vitest';
import bundled from '../../../examples/expo/schema.json';
import { end, find, goOffline, press, settled, shows, signedIn, start, statusOf, text, type, until, withRole, world } from './support/app';
import { Device } from './support/device';

test('sign-in syncs the places', async () => {
  await start();
  await shows('needs auth');
  await shows('Paste the token');
  expect(await settled()).toMatchInlineSnapshot(`
    "# Inspections
    needs auth, 0 waiting, 0 to review
    Paste the token that server/token.sh prints.
    Token: []
    (Sign in) disabled"
  `);
  const token = world.server.token();
  type('Token', ` ${token} `);
  press('Sign in');
  await shows('up to date');
  expect(world.device.token).toBe(token);
  await until(() => withRole('checkbox').length === 200, 'the places');
  await find('Bergen');
  expect(await settled()).toMatchInlineSnapshot(`
    "# Inspections
    up to date, 0 waiting, 0 to review
    (Places) disabled
    (Queue)
    (Developer)
    Find or add a place: [Bergen]
    (Add)
    [ ]
    Bergen
    NO, synced
    (Visit)
    (Delete)"
  `);
});

test('stored token signs in at the next start', async () => {
  await signedIn();
  await end();
  await start();
  await shows('(Queue)');
  expect(screen.queryByLabelText('Token')).toBeNull();
});

test('token store that fails shows its error and the sign-in', async () => {
  world.device.fault = new Error('the keychain is locked');
  await start();
  await shows('! the keychain is locked');
  expect(screen.getByLabelText('Token')).toBeTruthy();
});

test('rejected token asks for another and loses no write', async () => {
  world.device.token = 'no token of this server';
  await start();
  await shows('needs auth');
  type('Find or add a place', 'Pier 7');
  press('Add');
  await shows('1 waiting');
  await shows('(Sign in again)');
  press('Sign in again');
  type('Token', world.server.token());
  press('Sign in');
  await shows('up to date, 0 waiting');
  expect(world.server.sql("SELECT owner_id FROM places WHERE name = 'Pier 7'")).toBe('inspectors');
});

test('sign-out keeps unsent edits unless the user deletes them', async () => {
  await signedIn();
  await goOffline();
  press('Places');
  type('Find or add a place', 'Only here');
  press('Add');
  await shows('1 waiting');
  press('Queue');
  press('Sign out');
  await shows('1 changes are not on the server. Delete them?');
  press('Cancel');
  await shows('\noffline, 1 waiting');
  expect(world.device.token).not.toBeNull();
  press('Sign out');
  await shows('Delete and sign out');
  press('Delete and sign out');
  await shows('stopped, 0 waiting, 0 to review\nPaste the token');
  expect(world.device.token).toBeNull();
  expect(await world.client?.query('SELECT id FROM places')).toEqual([]);
  // The next user of the world.device.
  world.device.network(true);
  type('Token', world.server.token('another'));
  press('Sign in');
  await shows('up to date, 0 waiting');
  expect(withRole('checkbox')).toEqual([]);
});

test('app follows the device to the background and without a network', async () => {
  await signedIn();
  await find('Tunis');
  world.device.app('background');
  await shows('suspended');
  press('Tunis: inspected', 'checkbox');
  await shows('! ');
  world.device.app('active');
  await shows('up to date');
  world.device.network(false);
  await shows('offline');
  world.device.network(true);
  await shows('up to date');
  press('Tunis: inspected', 'checkbox');
  await until(() => statusOf('Tunis') === 'inspected', 'the edit');
  expect(withRole('alert')).toEqual([]);
});

test('developer screen is the inspector', async () => {
  await signedIn();
  await goOffline();
  await find('Riga');
  press('Riga: inspected', 'checkbox');
  await shows('1 waiting');
  press('Developer');
  await shows('# Queue\n1 pending');
  await shows('status: "open" -> "inspected"');
  await shows('No accepted mutations');
  const masked = (await settled()).replace(/^(#\d+ .*\n).*, written .*$/gm, '$1ID, written TIME').replace(/reason: .*/, 'reason: ...');
  expect(masked).toMatchInlineSnapshot(`
    "# Inspections
    offline, 1 waiting, 0 to review
    (Places)
    (Queue)
    (Developer) disabled
    # Status
    State: offline
    reason: ...
    First sync: done
    (Sync now)
    # Queue
    1 pending, 0 sent, 0 uncertain, 0 parked
    #1 pending, attempt 1
    ID, written TIME
    update places "geo-456172"
      status: "open" -> "inspected"
    # Parked
    No mutation waits for a decision
    # History
    No accepted mutations
    # Diagnosis
    A report without data and credentials.
    (Diagnose)"
  `);
});

test('bundled schema is that of the server', async () => {
  expect(await world.server.schema()).toEqual(bundled);
});

test('app opens the database and shows the screens', async () => {
  world.device.token = world.server.token();
  const open = vi.spyOn(RejoinClient, 'open');
  const { default: App } = await import('../../../examples/expo/App');
  render(<App />);
  expect(text()).toBe('Opening the database');
  await shows('up to date');
  world.client = (await open.mock.results[0]?.value) as RejoinClient;
});

test('app shows why the database cannot be opened', async () => {
  vi.resetModules();
  world.device = new Device(world.server.url, '/no folder');
  const { default: App } = await import('../../../examples/expo/App');
  render(<App />);
  await shows('! ');
  expect(text()).toContain('/no folder');
});
