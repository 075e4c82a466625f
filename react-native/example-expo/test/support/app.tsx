/** Test support: the app of examples/expo on a replaced device, and what a user does with its screens. Imported once by a test file. */
import { RejoinProvider } from '@rejoin/react';
import type { RejoinClient } from '@rejoin/react-native';
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import { afterAll, afterEach, beforeAll, beforeEach, vi } from 'vitest';
import { openInspections } from '../../../../examples/expo/src/inspections';
import { Main } from '../../../../examples/expo/src/main';
import { DemoServer } from './demo-server';
import { Device } from './device';
import { visible } from './visible';

/** The server of the file's tests, the device of the test, and the client of the started app, which is shut down after the test. */
export const world = {} as { server: DemoServer; device: Device; client: RejoinClient | undefined };

vi.mock('../../../../examples/expo/src/platform', () => ({
  folder: () => world.device.folder(),
  serverUrl: () => world.device.serverUrl(),
  modules: () => world.device.modules(),
  get tokens() {
    return world.device.tokens;
  },
}));

beforeAll(async () => {
  world.server = await DemoServer.start();
});
afterAll(() => world.server.quit());
beforeEach(() => {
  world.device = new Device(world.server.url);
});
afterEach(end);

/** The screen as text. */
export const text = (): string => visible(document.body);
/** Waits for a condition, which is checked after each change of the screen and at intervals. The error has the screen. */
export const until = (condition: () => boolean, what: string): Promise<void> => {
  const check = (): void => {
    if (!condition()) throw new Error(`never: ${what}; the screen is\n${text()}`);
  };
  return waitFor(check, { timeout: 20_000, onTimeout: (error) => error });
};
export const shows = (part: string): Promise<void> => until(() => text().includes(part), part);
/** The screen as text while no sync is running. */
export async function settled(): Promise<string> {
  let seen = '';
  await until(() => /\n(up to date|offline|needs auth), /.test((seen = text())), 'the end of the sync');
  return seen;
}
/** The components with a role. */
export const withRole = (role: string): Element[] => [...document.querySelectorAll(`[role=${role}]`)];
export const press = (label: string | RegExp, role = 'button'): void =>
  void fireEvent.click(screen.getByLabelText(label, { selector: `[role=${role}]` }));
export const type = (label: string, value: string): void => void fireEvent.change(screen.getByLabelText(label), { target: { value } });
export const sheet = (): string => withRole('dialog').map(visible).join();

/** Ends the app. */
export async function end(): Promise<void> {
  cleanup();
  await world.client?.shutdown();
}

/** Starts the app, as a process does. */
export async function start(): Promise<void> {
  const client = (world.client = await openInspections());
  render(<RejoinProvider client={client}><Main /></RejoinProvider>);
}

/** Starts the app with a user who has the places. */
export async function signedIn(): Promise<void> {
  world.device.token = world.server.token();
  await start();
  await shows('up to date');
}

/** Shows the only place with this name. */
export async function find(name: string): Promise<void> {
  press('Places');
  type('Find or add a place', name);
  await until(() => withRole('checkbox').length === 1 && text().includes(`\n${name}\n`), `the place ${name}`);
}

/** Switches the network off. A sync that is running ends first, and may send what is written meanwhile. */
export async function goOffline(): Promise<void> {
  press('Queue');
  press('Offline', 'switch');
  await shows('\noffline, ');
}

/** Ticks a place while the server closes it, and opens the sheet of the conflict. */
export async function conflict(name: string): Promise<void> {
  await signedIn();
  await goOffline();
  await find(name);
  press(`${name}: inspected`, 'checkbox');
  await shows('1 waiting');
  world.server.sql(`UPDATE places SET status = 'closed' WHERE name = '${name}'`);
  press('Queue');
  press('Offline', 'switch');
  await shows('To review: 1');
  press(/^update places/);
  await until(() => sheet().includes('Theirs: closed'), 'both values');
}

export const statusOf = (name: string): string => world.server.sql(`SELECT ifnull(status, 'NULL') FROM places WHERE name = '${name}'`);
export const isDecided = (): Promise<void> => until(() => withRole('dialog').length === 0 && text().includes('0 to review'), 'the decision');
