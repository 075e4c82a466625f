// @vitest-environment happy-dom
/** The places of examples/expo: edits on this device, offline and on other devices. */
import { screen } from '@testing-library/react';
import { expect, test } from 'vitest';
import { find, goOffline, press, settled, shows, signedIn, statusOf, text, type, until, world } from './support/app';

test('offline edit is pending until the network returns', async () => {
  await signedIn();
  await goOffline();
  await find('Tokyo');
  press('Tokyo: inspected', 'checkbox');
  await shows('JP, pending');
  expect(await settled()).toMatchInlineSnapshot(`
    "# Inspections
    offline, 1 waiting, 0 to review
    (Places) disabled
    (Queue)
    (Developer)
    Find or add a place: [Tokyo]
    (Add)
    [x]
    Tokyo
    JP, pending
    (Visit)
    (Delete)"
  `);
  type('Find or add a place', '');
  await shows('(Add) disabled\n[x]\nTokyo\nJP, pending');
  press('Queue');
  await shows('Waiting: 1');
  expect(await settled()).toMatchInlineSnapshot(`
    "# Inspections
    offline, 1 waiting, 0 to review
    (Places)
    (Queue) disabled
    (Developer)
    Offline
    Offline: on
    For a demonstration: the app behaves as without a network
    # To review: 0
    # Waiting: 1
    update places: pending
    # Server
    the device has no network
    (Sign out)"
  `);
  expect(statusOf('Tokyo')).toBe('open');
  press('Offline', 'switch');
  await shows('0 waiting');
  expect(statusOf('Tokyo')).toBe('inspected');
  await find('Tokyo');
  await shows('[x]\nTokyo\nJP, synced');
});

test('edit of another device appears in the list', async () => {
  await signedIn();
  await find('Oslo');
  world.server.sql("UPDATE places SET status = 'inspected' WHERE name = 'Oslo'");
  await shows('[x]\nOslo\nNO, synced');
});

test('added place is deleted with its visits', async () => {
  await signedIn();
  type('Find or add a place', ' Quay 3 ');
  press('Add');
  await until(() => text().includes('Find or add a place: []'), 'the added place');
  await find('Quay 3');
  await shows('\nsynced');
  press('Visit: Quay 3');
  type('Score', '88');
  press('Save');
  await until(() => world.server.sql("SELECT score FROM visits JOIN places ON places.id = place_id WHERE name = 'Quay 3'") === '88', 'the visit');
  press('Delete: Quay 3');
  await until(() => world.server.sql("SELECT count(*) FROM places WHERE name = 'Quay 3' AND deleted_at IS NULL") === '0', 'the delete');
  await until(() => screen.queryByText('Quay 3') === null, 'the list');
});
