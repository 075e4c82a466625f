/** From the call of a write to the render that shows it: React in production mode, with a document that draws nothing. */
import { Window } from 'happy-dom';
import { createElement, type ReactElement, useLayoutEffect } from 'react';
import { RejoinProvider, useQuery } from '../react/src/index';
import type { RejoinClient } from '../node/index';

/** The members used here of react-dom, which has no types of its own. */
interface Root {
  render(element: ReactElement): void;
  unmount(): void;
}

/** Waits for the render after each of `commits` writes; the first 50 warm up. Returns the milliseconds of the others. */
export async function renders(client: RejoinClient, write: (count: number) => Promise<unknown>, sql: string, commits: number): Promise<number[]> {
  const window = new Window();
  Object.assign(globalThis, { window, document: window.document });
  const { createRoot } = (await import('react-dom/client' as string)) as { createRoot(container: unknown): Root };
  let shown: (count: number | undefined) => void = () => undefined;
  const Count = () => {
    const count = useQuery<{ count: number }>(sql).rows[0]?.count;
    useLayoutEffect(() => void shown(count), [count]);
    return count;
  };
  const rendered = (expected?: number): Promise<void> =>
    new Promise((resolve) => (shown = (count) => count !== undefined && (expected === undefined || count === expected) && resolve()));
  const root = createRoot(window.document.createElement('div'));
  const first = rendered();
  root.render(createElement(RejoinProvider, { client, children: createElement(Count) }));
  await first;
  const delays: number[] = [];
  for (let number = -50; number < commits; number += 1) {
    const render = rendered(number);
    const begin = performance.now();
    const written = write(number);
    await render;
    if (number >= 0) delays.push(performance.now() - begin);
    await written;
  }
  root.unmount();
  return delays;
}
