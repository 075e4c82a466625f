// @vitest-environment happy-dom
/** The page of `rejoin inspect --serve` with a recorded inspection, of which a test of the command keeps the form current. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

const file = (path: string): string => readFileSync(join(fileURLToPath(import.meta.url), '../../../../cli', path), 'utf8');
const [html, script] = [file('src/serve/page.html'), file('src/serve/page.js')];
const recorded = file('tests/inspection.json');

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

test('parked mutations have the reason and both values', async () => {
  await open(recorded);
  const [conflict, rejected] = section('Parked').querySelectorAll('article');
  expect(conflict?.textContent).toContain('Reason: conflicted');
  expect(conflict?.textContent).toContain('Message: the column has another value');
  expect(conflict?.querySelector('caption')?.textContent).toBe("update tasks 'a'");
  expect(cells(conflict!)).toEqual([
    ['column', 'before', 'mine', 'theirs, at the verdict'],
    ['n', '1', '2', '1'],
    ['title', "'first'", "'<b>mine</b>'", "'<script>theirs</script>'"],
  ]);
  expect([...conflict!.querySelectorAll('tr.conflict')].map((line) => line.firstChild?.textContent)).toEqual(['title']);
  expect(rejected?.textContent).toContain("Reason: rejectedMessage: CHECK constraint failed: title <> 'refused'");
  expect(cells(rejected!)).toContainEqual(['title', '', "'refused'", 'not reported']);
});

test('status, tables, pending mutations and history are shown', async () => {
  await open(recorded);
  expect(cells(section('Status'))[1]?.slice(2)).toEqual(['done', '1', '2', '1', '0', '0']);
  const { digest } = (JSON.parse(recorded) as { tables: [{ digest: string }] }).tables[0];
  expect(cells(section('Tables'))[1]).toEqual(['tasks', '2', '1', digest, 'yes']);
  expect(section('Pending').querySelectorAll('article')).toHaveLength(1);
  expect(cells(section('Pending'))).toContainEqual(['title', '', "'later'"]);
  expect(section('History').textContent).toMatch(/accepted .*T.*Z/);
  expect(cells(section('History'))).toContainEqual(['title', '', "'first'"]);
  expect(document.body.textContent).toContain('Read-only');
});

test('no number is rounded', async () => {
  await open(recorded);
  expect(cells(section('Pending'))).toContainEqual(['n', '', '9007199254740993']);
  // Digits in a text stay text, and a real stays a real.
  await refresh(() => new Response(recorded.replace('"later"', String.raw`"\" 9007199254740993"`).replace('9007199254740993\n', '1.0\n')));
  expect(cells(section('Pending'))).toContainEqual(['title', '', `'" 9007199254740993'`]);
  expect(cells(section('Pending'))).toContainEqual(['n', '', '1.0']);
});

test('markup in names and values is text', async () => {
  const named = recorded.replaceAll('"tasks"', '"<img src=x onerror=alert(1)>"').replaceAll('"n"', '"<b>n</b>"');
  await open(named.replace('phone.db', '<script>1</script>'));
  expect(section('Status').textContent).toContain('<script>1</script>');
  expect(section('Tables').textContent).toContain('<img src=x onerror=alert(1)>');
  expect(cells(section('Pending')).map(([name]) => name)).toContain('<b>n</b>');
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
  expect(section('Parked').textContent).toContain('conflicted');
  await refresh(() => new Response(recorded));
  expect(error()).toBeUndefined();
});

test('page follows the file while it is visible', async () => {
  await open(recorded);
  const shown = section('Parked');
  await vi.advanceTimersByTimeAsync(2_000);
  expect(fetched).toEqual(['/inspection.json', '/inspection.json']);
  expect(section('Parked'), 'an equal inspection keeps the elements').toBe(shown);
  answer = () => new Response(recorded.replace('"conflicted"', '"depends"'));
  await vi.advanceTimersByTimeAsync(2_000);
  expect(section('Parked').textContent).toContain('Reason: depends');
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
  expect(script).not.toMatch(/https?:|eval|\.style\b/);
});
