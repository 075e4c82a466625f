// @vitest-environment happy-dom
/** The examples of the README run. */
import { render } from '@testing-library/react';
import { expect, test } from 'vitest';
import { withStock } from '../../test/support/synced';
import { until, withTasks } from '../../test/support/world';
import { App, DeveloperScreen, TakeButton } from './readme.example';
import { provide } from './support/hooks';

test('list shows its rows and writes', async () => {
  const client = await withTasks();
  await client.executeScript("ALTER TABLE task ADD COLUMN list_id TEXT; ALTER TABLE task ADD COLUMN done BOOLEAN NOT NULL DEFAULT 0");
  await client.execute("INSERT INTO task (id, title, list_id) VALUES ('1', 'buy milk', 'home')");
  const { container } = render(<App client={client} />);
  await until(() => container.textContent === '○ buy milk', 'the row');
  container.querySelector('li')?.click();
  await until(() => container.textContent === '✓ buy milk', 'the write');
});

test('button shows the error of an action', async () => {
  const { container } = render(<TakeButton id="nails" />, { wrapper: provide(await withStock()) });
  container.querySelector('button')?.click();
  await until(() => /0 not sent, 0 not accepted\) .+/.test(container.textContent ?? ''), 'the error');
  expect(container.querySelector('button')?.disabled).toBe(false);
});

test('inspector shows the queue', async () => {
  const { container } = render(<DeveloperScreen client={await withStock()} />);
  await until(() => container.textContent?.includes('insert stock "nails"') === true, 'the mutation');
});
