// @vitest-environment happy-dom
/** Parked mutations in examples/expo: rejections and conflicts, and each decision about them. */
import { expect, test } from 'vitest';
import { conflict, end, find, isDecided, press, settled, sheet, shows, signedIn, statusOf, type, until, withRole, world } from './support/app';

test('rejected visit is edited and accepted', async () => {
  await signedIn();
  await find('Kyoto');
  press('Visit: Kyoto');
  type('Score', 'x');
  expect(sheet()).toMatchInlineSnapshot(`
    "# Visit of Kyoto
    Score: [x]
    The server rejects more than 100
    (Save) disabled
    (Cancel)"
  `);
  type('Score', '140');
  press('Save');
  await shows('up to date, 0 waiting, 1 to review');
  press('Queue');
  await shows('To review: 1');
  expect(await settled()).toMatchInlineSnapshot(`
    "# Inspections
    up to date, 0 waiting, 1 to review
    (Places)
    (Queue) disabled
    (Developer)
    Offline
    Offline: off
    For a demonstration: the app behaves as without a network
    # To review: 1
    (insert visits)
    CHECK constraint failed: score_is_a_percentage
    # Waiting: 0
    (Sign out)"
  `);
  press(/^insert visits/);
  await until(() => sheet().includes('Mine: 140'), 'the values');
  expect(sheet().replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')).toMatchInlineSnapshot(`
    "# Not accepted by the server
    CHECK constraint failed: score_is_a_percentage
    # insert visits
    place_id
    Mine: geo-1857910
    Theirs: no row
    place_id: [geo-1857910]
    visited_at
    Mine: TIME
    Theirs: no row
    visited_at: [TIME]
    (Set NULL)
    score
    Mine: 140
    Theirs: no row
    score: [140]
    (Set NULL)
    (Send again)
    (Discard)
    (Send these values) disabled
    (Close)"
  `);
  type('score', 'many');
  press('Send these values');
  await until(() => sheet().includes('! '), 'the error');
  expect(sheet()).toContain('! score: expected a whole number, got "many"');
  type('score', '88');
  press('Send these values');
  await isDecided();
  await shows('up to date, 0 waiting');
  expect(world.server.sql("SELECT score FROM visits JOIN places ON places.id = place_id WHERE name = 'Kyoto'")).toBe('88');
});

test('rejected visit is discarded', async () => {
  await signedIn();
  await find('Nairobi');
  press('Visit: Nairobi');
  type('Score', '101');
  press('Save');
  press('Queue');
  await shows('To review: 1');
  press(/^insert visits/);
  press('Discard');
  await isDecided();
  expect(await world.client?.queue.all()).toEqual([]);
});

test('keep mine replaces the value of the server', async () => {
  await conflict('Bergen');
  expect(sheet()).toMatchInlineSnapshot(`
    "# Changed here and on the server
    the column has another value than the one that was edited
    # update places
    status (in conflict)
    Mine: inspected
    Theirs: closed
    status: [inspected]
    (Set NULL)
    (Keep mine)
    (Take theirs)
    (Send these values) disabled
    (Close)"
  `);
  press('Keep mine');
  await isDecided();
  await until(() => statusOf('Bergen') === 'inspected', 'the value of this device');
});

test('take theirs keeps the value of the server', async () => {
  await conflict('Cairo');
  press('Take theirs');
  await isDecided();
  expect(await world.client?.queue.all()).toEqual([]);
  await find('Cairo');
  await shows('[ ]\nCairo\nEG, synced');
  expect(statusOf('Cairo')).toBe('closed');
});

test('edited value and NULL replace both versions', async () => {
  await conflict('Dakar');
  type('status', 'revisit');
  press('Send these values');
  await isDecided();
  await until(() => statusOf('Dakar') === 'revisit', 'the edited value');
  await end();

  await conflict('Cusco');
  press('Set NULL: status');
  expect(sheet()).toContain('(NULL is sent)');
  press('Send these values');
  await isDecided();
  await until(() => statusOf('Cusco') === 'NULL', 'NULL');
});

test('closed sheet keeps the change for review', async () => {
  await conflict('Hanoi');
  press('Close');
  expect(withRole('dialog')).toEqual([]);
  press(/^update places/);
  const [parked] = (await world.client?.queue.all()) ?? [];
  await world.client?.queue.discardChain(parked?.id ?? '');
  await until(() => sheet().includes('This change does not wait for a decision.'), 'the decision elsewhere');
});
