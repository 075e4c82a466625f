/** An app's test of a component: the packed packages, the real engine and a file. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RejoinProvider } from '@rejoin/react';
import { RejoinClient } from '@rejoin/react-native';
import { configure, fireEvent, render, screen } from '@testing-library/react-native';
import { TaskList } from './TaskList';

// The first use of a component compiles React Native.
configure({ asyncUtilTimeout: 40_000 });

const folder = mkdtempSync(join(tmpdir(), 'rejoin-app-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('a write renders the list again', async () => {
  const path = join(folder, 'app.db');
  const client = await RejoinClient.open({ path });
  await client.schema.createTable('task', 'id TEXT PRIMARY KEY, title TEXT NOT NULL');
  await render(
    <RejoinProvider client={client}>
      <TaskList />
    </RejoinProvider>,
  );
  const add = await screen.findByLabelText('add');
  expect(screen.queryByText('task 0')).toBeNull();
  await fireEvent.press(add);
  expect(await screen.findByText('task 0')).toBeTruthy();
  await client.execute('UPDATE task SET title = ?', ['renamed']);
  expect(await screen.findByText('renamed')).toBeTruthy();
  expect(existsSync(path)).toBe(true);
  await screen.unmount();
  await client.shutdown();
});
