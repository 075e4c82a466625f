// @vitest-environment happy-dom
/** The examples of the README run. */
import { readFileSync } from 'node:fs';
import { render } from '@testing-library/react';
import { expect, test } from 'vitest';
import { withStock } from '../../test/support/synced';
import { opened, until } from '../../test/support/world';
import { App, DeveloperScreen, TakeButton } from './readme.example';
import { provide } from './support/hooks';

test('list shows its rows and writes', async () => {
  const client = await opened({ schema: readFileSync('../examples/cli/schema.json', 'utf8') });
  await client.execute("INSERT INTO tasks (id, title) VALUES ('t1', 'buy milk')");
  const { container } = render(<App client={client} />);
  await until(() => container.textContent === '○ buy milk', 'the row');
  container.querySelector('li')?.click();
  await until(() => container.textContent === '', 'the write');
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
