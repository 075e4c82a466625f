// @vitest-environment happy-dom
/** The page of `rejoin inspect --serve` with a recorded inspection, of which a test of the command keeps the form current. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

const file = (path: string): string => readFileSync(join(fileURLToPath(import.meta.url), '../../../../cli', path), 'utf8');
const [html, script] = [file('src/serve/page.html'), file('src/serve/page.js')];
const recorded = file('tests/inspection.json');
const [PARKED, PENDING, ACCEPTED] = ['Parked writes', 'Pending writes', 'Accepted writes, newest first'];

let answer: () => Response;
const fetched: string[] = [];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  fetched.length = 0;
  vi.stubGlobal('fetch', async (url: string) => {
    fetched.push(url);
    return answer();
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** What happens now, without later polls. */
const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

async function open(text: string): Promise<void> {
  answer = () => new Response(text);
  document.body.innerHTML = /<body>([^]*)<\/body>/.exec(html)?.[1] ?? '';
  new Function(script)();
  await settle();
}

async function refresh(response: () => Response): Promise<void> {
  answer = response;
  document.getElementById('refresh')?.click();
  await settle();
}

const error = (): string | null | undefined => {
  const shown = document.getElementById('error');
  return shown?.hidden === true ? undefined : shown?.textContent;
};
const section = (title: string): Element => [...document.querySelectorAll('section')].find((one) => one.querySelector('h2')?.textContent === title)!;
/** The cells of a table, line by line. */
const cells = (table: Element): string[][] =>
  [...table.querySelectorAll('tr')].map((line) => [...line.children].map(({ textContent }) => textContent ?? ''));

test('parked writes come first, with the reason and both values', async () => {
  await open(recorded);
  expect([...document.querySelectorAll('h2')].map(({ textContent }) => textContent)).toEqual([PARKED, PENDING, 'Tables', ACCEPTED, 'File']);
  expect(document.getElementById('summary')?.textContent).toBe('2 parked, 1 waiting to be synced. First sync: done.');
  const [conflict, rejected] = section(PARKED).querySelectorAll('article');
  expect(conflict?.querySelector('h3')?.textContent).toBe("update tasks 'a'");
  expect(conflict?.textContent).toContain('Parked (conflicted): the row has changed on the server since.');
  expect(conflict?.textContent).toContain('Message: the column has another value');
  expect(cells(conflict!)).toEqual([
    ['column', 'before', 'mine', 'theirs, at the verdict'],
    ['n', '1', '2', '1'],
    ['title', "'first'", "'<b>mine</b>'", "'<script>theirs</script>'"],
  ]);
  expect([...conflict!.querySelectorAll('tr.conflict')].map((line) => line.firstChild?.textContent)).toEqual(['title']);
  expect(rejected?.textContent).toContain('Parked (rejected): a rule of the server rejects its values.');
  expect(rejected?.textContent).toContain("Message: CHECK constraint failed: title <> 'refused'");
  expect(cells(rejected!)).toEqual([['column', 'old', 'new'], ['title', '', "'refused'"]]);
});

test('a column in conflict is shown although the insert has no value for it', async () => {
  const found = JSON.parse(recorded) as { queue: { detail: Record<string, unknown> }[] };
  const rows = [{ table: 'tasks', key: 'b', columns: ['n'], mine: { n: null }, theirs: { n: 7 }, before: null }];
  found.queue[1]!.detail['rows'] = rows;
  await open(JSON.stringify(found));
  const insert = section(PARKED).querySelectorAll('article')[1]!;
  expect(cells(insert)).toContainEqual(['n', '', 'NULL', '7']);
  expect(insert.querySelectorAll('tr.conflict')).toHaveLength(1);
});

test('tables, pending and accepted writes and the file are shown', async () => {
  await open(recorded);
  expect(cells(section('Tables'))[1]).toEqual(['tasks', '2', '1', '2', 'yes']);
  const { digest } = (JSON.parse(recorded) as { tables: [{ digest: string }] }).tables[0];
  expect(cells(section('File'))).toContainEqual(['tasks', '1', digest]);
  expect(section(PENDING).querySelectorAll('article')).toHaveLength(1);
  expect(cells(section(PENDING))).toContainEqual(['title', '', "'later'"]);
  expect(section(ACCEPTED).textContent).toMatch(/accepted .*T.*Z/);
  expect(cells(section(ACCEPTED))).toContainEqual(['title', '', "'first'"]);
  expect(document.body.textContent).toContain('Read-only');
});

test('internal facts are folded, and stay open when the page changes', async () => {
  await open(recorded);
  const parts = (): HTMLDetailsElement[] => [...document.querySelectorAll('details')];
  expect(parts().filter((one) => one.open)).toHaveLength(0);
  parts()[1]!.open = true;
  await refresh(() => new Response(recorded.replace('"conflicted"', '"depends"')));
  expect(parts().map((one) => one.open).indexOf(true)).toBe(1);
});

test('no number is rounded', async () => {
  await open(recorded);
  expect(cells(section(PENDING))).toContainEqual(['n', '', '9007199254740993']);
  // Digits in a text stay text, and a real stays a real.
  await refresh(() => new Response(recorded.replace('"later"', String.raw`"\" 9007199254740993"`).replace('9007199254740993\n', '1.0\n')));
  expect(cells(section(PENDING))).toContainEqual(['title', '', `'" 9007199254740993'`]);
  expect(cells(section(PENDING))).toContainEqual(['n', '', '1.0']);
});

test('markup in names and values is text', async () => {
  const named = recorded.replaceAll('"tasks"', '"<img src=x onerror=alert(1)>"').replaceAll('"n"', '"<b>n</b>"');
  await open(named.replace('phone.db', '<script>1</script>'));
  expect(section('File').textContent).toContain('<script>1</script>');
  expect(section('Tables').textContent).toContain('<img src=x onerror=alert(1)>');
  expect(cells(section(PENDING)).map(([name]) => name)).toContain('<b>n</b>');
  expect(document.querySelectorAll('#content :is(script, img, b)')).toHaveLength(0);
  expect(script).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write/);
});

test('errors are shown and the last inspection stays', async () => {
  await open(recorded);
  expect(error()).toBeUndefined();
  await refresh(() => new Response('{"error": "app.db cannot be read: it is no database"}', { status: 500 }));
  expect(error()).toBe('app.db cannot be read: it is no database');
  await refresh(() => new Response('No valid token', { status: 403 }));
  expect(error()).toBe('No valid token');
  await refresh(() => {
    throw new TypeError('failed to fetch');
  });
  expect(error()).toMatch(/^The command has ended: start/);
  expect(section(PARKED).textContent).toContain('conflicted');
  await refresh(() => new Response(recorded));
  expect(error()).toBeUndefined();
});

test('page follows the file while it is visible', async () => {
  await open(recorded);
  const shown = section(PARKED);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(fetched).toEqual(['/inspection.json', '/inspection.json']);
  expect(section(PARKED), 'an equal inspection keeps the elements').toBe(shown);
  answer = () => new Response(recorded.replace('"conflicted"', '"depends"'));
  await vi.advanceTimersByTimeAsync(2_000);
  expect(section(PARKED).textContent).toContain('Parked (depends)');
  const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
  await vi.advanceTimersByTimeAsync(6_000);
  expect(fetched).toHaveLength(3);
  hidden.mockReturnValue(false);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(fetched).toHaveLength(4);
  hidden.mockRestore();
});

test('page needs nothing that its content security policy forbids', () => {
  expect(html).not.toMatch(/\son\w+=|style=|<style|https?:|<script>/);
  expect(script).not.toMatch(/https?:|\beval\b|\.style\b/);
});
