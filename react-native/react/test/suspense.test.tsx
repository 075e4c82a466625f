// @vitest-environment happy-dom
/** `useSuspenseQuery`: suspends, throws to an error boundary, and recovers. */
import type { RejoinClient } from '@rejoin/react-native';
import { render, type RenderResult } from '@testing-library/react';
import { Component, type ReactElement, type ReactNode, StrictMode, Suspense } from 'react';
import { afterEach, expect, test, vi } from 'vitest';
import { INSERT, until, withTasks } from '../../test/support/world';
import { useSuspenseQuery } from '../src/index';
import { afterLinger, counting, provide } from './support/hooks';

class Boundary extends Component<{ children: ReactNode }, { error?: Error }> {
  override state: { error?: Error } = {};
  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }
  override render(): ReactNode {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return <button onClick={() => this.setState({ error: undefined as never })}>failed: {error.name}</button>;
  }
}

function Titles({ sql }: { sql: string }): ReactElement {
  const { rows, error } = useSuspenseQuery<{ title: string }>(sql);
  return <p>{`${rows.map(({ title }) => title).join()} ${error?.code ?? 'fine'}`}</p>;
}

function show(client: RejoinClient, sql: string): RenderResult {
  const screen = (
    <StrictMode>
      <Boundary>
        <Suspense fallback="waiting">
          <Titles sql={sql} />
        </Suspense>
      </Boundary>
    </StrictMode>
  );
  return render(screen, { wrapper: provide(client) });
}

afterEach(() => void vi.restoreAllMocks());

test('suspends until the first result, with one watch', async () => {
  const { client, counts } = counting(await withTasks());
  await client.execute(INSERT, ['1', 'one']);
  const { container, unmount } = show(client, 'SELECT title FROM task');
  expect(container.textContent).toBe('waiting');
  await until(() => container.textContent === 'one fine', 'the rows');
  await client.execute(INSERT, ['2', 'two']);
  await until(() => container.textContent === 'one,two fine', 'the next rows');
  expect(counts.started).toBe(1);
  unmount();
  await afterLinger();
  expect(counts.running()).toBe(0);
});

test('unmount while suspended ends the watch', async () => {
  const { client, counts } = counting(await withTasks());
  const { unmount } = show(client, 'SELECT title FROM task');
  unmount();
  await afterLinger();
  expect([counts.started, counts.running()]).toEqual([1, 0]);
});

test('first error goes to the boundary, and its reset runs the query again', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const client = await withTasks();
  const { container } = show(client, 'SELECT title FROM later');
  await until(() => container.textContent === 'failed: InvalidInputError', 'the boundary');
  await afterLinger();
  await client.schema.createTable('later', 'title TEXT PRIMARY KEY');
  await client.execute("INSERT INTO later VALUES ('there')");
  container.querySelector('button')?.click();
  await until(() => container.textContent === 'there fine', 'the rows');
});

test('later error is returned with the last rows', async () => {
  const client = await withTasks();
  await client.execute(INSERT, ['1', 'one']);
  const { container } = show(client, 'SELECT title FROM task');
  await until(() => container.textContent === 'one fine', 'the rows');
  await client.executeScript('ALTER TABLE task RENAME TO gone');
  await client.execute("UPDATE gone SET title = 'x'");
  await until(() => container.textContent === 'one InvalidInput', 'the error');
});
