// @vitest-environment happy-dom
/** How often components render and queries run: identity of rows, and one watch for many hooks. */
import { render } from '@testing-library/react';
import { memo, type ReactElement } from 'react';
import { expect, test } from 'vitest';
import { until, withTasks } from '../../test/support/world';
import { usePendingWrites, useQuery } from '../src/index';
import { counting, mount, provide } from './support/hooks';

type Task = { id: number; title: string };
const SQL = 'SELECT CAST(id AS INTEGER) AS id, title FROM task ORDER BY rank, CAST(id AS INTEGER)';

async function filled(rows: number): ReturnType<typeof withTasks> {
  const client = await withTasks();
  await client.batch(Array.from({ length: rows }, (_, id) => ({ sql: 'INSERT INTO task (id, title) VALUES (?, ?)', params: [`${id}`, 'new'] })));
  return client;
}

test('1,000 updates render only the rows that changed', async () => {
  const { client, counts } = counting(await filled(100));
  const renders = new Map<number, number>();
  let lists = 0;
  const Item = memo(function Item({ task }: { task: Task }): ReactElement {
    renders.set(task.id, (renders.get(task.id) ?? 0) + 1);
    return <li>{task.title}</li>;
  });
  function List(): ReactElement {
    lists += 1;
    const { rows } = useQuery<Task>(SQL, [], { key: ['id'] });
    return <ul>{rows.map((task) => <Item key={task.id} task={task} />)}</ul>;
  }
  const { container } = render(<List />, { wrapper: provide(client) });
  const shown = (title: string) => () => container.textContent?.includes(title) === true;
  await until(() => container.querySelectorAll('li').length === 100, 'the list');
  for (let at = 0; at < 1_000; at += 1) await client.execute('UPDATE task SET title = ? WHERE id = ?', [`title ${at};`, `${at % 10}`]);
  await until(shown('title 999;'), 'the last update');
  expect([...renders].filter(([id, times]) => id >= 10 && times !== 1)).toEqual([]);
  expect([...renders.values()].reduce((sum, times) => sum + times)).toBeLessThanOrEqual(100 + 1_000);
  // One for each result, and the mount.
  expect(lists).toBeLessThanOrEqual(counts.results + 1);
  expect(counts.results).toBeLessThanOrEqual(1_001);
  expect(counts.started).toBe(1);
});

test('rows keep their identity when others move, appear and go', async () => {
  const client = await filled(4);
  const { last } = mount(client, () => useQuery<Task>(SQL, [], { key: ['id'] }));
  await until(() => last().rows.length === 4, 'the rows');
  const [zero, one, two, three] = last().rows;
  await client.batch([
    { sql: "DELETE FROM task WHERE id = '1'" },
    { sql: "UPDATE task SET title = 'other' WHERE id = '2'" },
    { sql: "UPDATE task SET rank = 9 WHERE id = '0'" },
    { sql: "INSERT INTO task (id, title) VALUES ('7', 'seven')" },
  ]);
  await until(() => last().rows.some(({ id }) => id === 7), 'the next result');
  const after = last().rows;
  expect(after.map(({ id, title }) => `${id} ${title}`)).toEqual(['2 other', '3 new', '7 seven', '0 new']);
  expect(after[1]).toBe(three);
  expect(after[3]).toBe(zero);
  expect(after[0]).not.toBe(two);
  expect(one?.id).toBe(1);
});

test('100 hooks run one query per commit', async () => {
  const { client, counts } = counting(await filled(10));
  let shown: number[] = [];
  function Count({ at }: { at: number }): ReactElement {
    const { rows } = useQuery<Task>(SQL, [], { key: ['id'] });
    shown[at] = rows.length;
    return <i>{rows.length}</i>;
  }
  const all = Array.from({ length: 100 }, (_, at) => <Count key={at} at={at} />);
  render(<>{all}</>, { wrapper: provide(client) });
  await until(() => shown.every((rows) => rows === 10), 'the first result');
  for (let commit = 1; commit <= 5; commit += 1) {
    await client.execute("INSERT INTO task (id, title) VALUES (?, 'more')", [`${100 + commit}`]);
    await until(() => shown.every((rows) => rows === 10 + commit), `commit ${commit}`);
  }
  expect(shown.length).toBe(100);
  expect([counts.started, counts.results]).toEqual([1, 6]);
});

test('100 hooks read the queue once', async () => {
  const { client, counts } = counting(await filled(1));
  const { last } = mount(client, () => Array.from({ length: 100 }, () => usePendingWrites()));
  await until(() => last().every(({ isLoading }) => !isLoading), 'the queue');
  expect(counts.reads).toBe(1);
});
