/** Shared stores: when they start, end, and are dropped. Without React and an engine. */
import { expect, test, vi } from 'vitest';
import { shared } from '../src/store';
import { afterLinger } from './support/hooks';

const ignore = (): void => undefined;

test('store of an abandoned render is dropped without a start', async () => {
  const database = {};
  const begin = vi.fn(() => ignore);
  const get = () => shared(database, 'a', () => [0, begin] as const);
  const store = get();
  expect(get()).toBe(store);
  expect(shared({}, 'a', () => [0, begin] as const)).not.toBe(store);
  await afterLinger();
  expect(get()).not.toBe(store);
  expect(begin).not.toHaveBeenCalled();
});

test('store that has ended starts again and is shared again', async () => {
  const database = {};
  const [end, begin] = [vi.fn(), vi.fn()];
  begin.mockReturnValue(end);
  const get = () => shared<number>(database, 'a', () => [0, begin]);
  const store = get();
  store.subscribe(ignore)();
  await afterLinger();
  expect([begin.mock.calls.length, end.mock.calls.length]).toEqual([1, 1]);
  const listener = vi.fn();
  const unsubscribe = store.subscribe(listener);
  expect(get()).toBe(store);
  expect(begin).toHaveBeenCalledTimes(2);
  store.set(1);
  store.set(1);
  expect(listener).toHaveBeenCalledTimes(1);
  unsubscribe();
});
