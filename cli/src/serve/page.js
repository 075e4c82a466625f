/**
 * The page of `rejoin inspect --serve`: shows `/inspection.json`, and reads it again.
 *
 * Data becomes text nodes only, never markup, and no number is rounded. The page changes only if the inspection has changed.
 */
'use strict';

const POLL_MS = 2000;

/** Parses JSON. A number that JavaScript would print differently, such as a large integer, becomes `{ number: 'digits' }`. */
function parseExactly(text) {
  const token = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
  const keep = (found) => (found.startsWith('"') || String(Number(found)) === found ? found : `{"number":"${found}"}`);
  return JSON.parse(text.replace(token, keep));
}

/** A value in SQL syntax, as the command prints it. */
function cell(value) {
  if (value === undefined) return '';
  if (value === null) return 'NULL';
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  if (typeof value !== 'object') return String(value);
  return typeof value.blob === 'string' ? `x'${value.blob}'` : jsonText(value);
}

const jsonText = (value) => JSON.stringify(value).replace(/\{"number":"([-+.\deE]+)"\}/g, '$1');

const time = (ms) => (Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`);

function element(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
}

function table(caption, heads, rows) {
  const line = (tag, cells) => element('tr', ...cells.map((text) => element(tag, String(text))));
  return element('table', element('caption', caption), line('th', heads), ...rows.map((cells) => line('td', cells)));
}

const section = (title, content) => element('section', element('h2', title), ...(content.length === 0 ? [element('p', 'None')] : content));

function folded(title, ...content) {
  return element('details', element('summary', title), ...content);
}

/** Why a write is parked, in the words of docs/verdicts.md. */
const REASONS = {
  rejected: 'a rule of the server rejects its values',
  conflicted: 'the row has changed on the server since',
  refused: 'the server does not evaluate it',
  depends: 'a write that it depends on is parked',
  partlyaccepted: 'the server has accepted a part of it; this is the rest',
  unreplayable: 'its action could not run again on the newer rows',
  serverfault: 'the server has failed on it too often',
};

function summary({ counts, first_sync }) {
  const { parked, pending, sent, uncertain } = counts;
  const made = element('p', `${parked} parked, ${pending + sent + uncertain} waiting to be synced. First sync: ${first_sync}.`);
  made.id = 'summary';
  return made;
}

/** The number of rows of each table, and how many of them have writes in the queue. */
function tables({ tables: all, queue }) {
  const written = (name, isCounted) => {
    const rows = queue.filter(isCounted).flatMap((one) => one.rows.filter(({ table }) => table === name));
    return new Set(rows.map(({ key }) => cell(key))).size;
  };
  const rows = all.map(({ name, rows: shown, writable }) => [
    name,
    shown,
    written(name, (one) => !isParked(one)),
    written(name, isParked),
    writable ? 'yes' : 'no',
  ]);
  const heads = ['table', 'rows', 'rows with pending writes', 'rows with parked writes', 'writable'];
  return section('Tables', rows.length === 0 ? [] : [table('', heads, rows)]);
}

function facts({ path, format, facts: stored, tables: all }) {
  return section('File', [
    folded(
      'Format, identity and digests',
      table('', ['name', 'value'], [['file', path], ['format', format], ...Object.entries(stored)]),
      table('', ['table', 'rows of the base', 'digest of the base'], all.map((one) => [one.name, one.base_rows, one.digest])),
    ),
  ]);
}

const isParked = ({ state }) => state === 'parked';

const caption = ({ operation, table, key }) => `${operation} ${table} ${cell(key)}`;

/** The columns of a row; of an insert, those with a value and those in conflict. */
const columnsOf = ({ operation, columns }, conflicting = []) =>
  Object.entries(columns).filter(([name, one]) => operation !== 'insert' || one.new !== null || conflicting.includes(name));

function written(row) {
  const rows = columnsOf(row).map(([name, one]) => [name, cell(one.old), cell(one.new)]);
  return table(caption(row), ['column', 'old', 'new'], rows);
}

/** A row of a parked mutation. The server reports its row (theirs) with a conflict only, as of the verdict. */
function compared(row, detail) {
  const conflicts = Array.isArray(detail?.rows) ? detail.rows : [];
  const conflict = conflicts.find(({ table, key }) => table === row.table && cell(key) === cell(row.key));
  if (conflict === undefined) return written(row);
  const theirs = (name) => (conflict.theirs ? cell(conflict.theirs[name]) : 'no row');
  const mine = (name, one) => (row.operation === 'delete' ? 'deleted' : cell(conflict.mine?.[name] ?? one.new));
  const columns = columnsOf(row, conflict.columns);
  const rows = columns.map(([name, one]) => [name, cell(one.old), mine(name, one), theirs(name)]);
  const made = table(caption(row), ['column', 'before', 'mine', 'theirs, at the verdict'], rows);
  columns.forEach(([name], at) => made.rows[at + 1].classList.toggle('conflict', conflict.columns.includes(name)));
  return made;
}

function mutation(one, rows) {
  const { seq, id, state, action, attempt, written_ms, accepted_ms, reason, because_of, blocked_by, undoes, detail } = one;
  const title = action ? `action ${action}` : one.rows.map(caption).slice(0, 3).join(', ') + (one.rows.length > 3 ? `, ${one.rows.length - 3} more` : '');
  const lines = [];
  if (reason) lines.push(`Parked (${reason}): ${REASONS[reason] ?? 'the app must decide'}${because_of ? `, ${because_of}` : ''}.`);
  if (typeof detail?.message === 'string') lines.push(`Message: ${detail.message}`);
  if (blocked_by) lines.push(`Waits for ${blocked_by}.`);
  const times = [`written ${time(written_ms)}`, accepted_ms && `accepted ${time(accepted_ms)}`, undoes && `reverts ${undoes}`];
  lines.push(times.filter(Boolean).join(', '));
  const internal = [`#${seq} ${id}`, state, `attempt ${attempt}`].filter(Boolean).join(', ');
  // The rows of a conflict are in the table.
  const rest = detail && `Detail: ${jsonText({ ...detail, rows: undefined })}`;
  const more = folded('Details', ...[internal, rest].filter(Boolean).map((text) => element('p', text)));
  return element('article', element('h3', title), ...lines.map((text) => element('p', text)), ...rows, more);
}

function show(found) {
  const plain = (one) => mutation(one, one.rows.map(written));
  const parked = (one) => mutation(one, one.rows.map((row) => compared(row, one.detail)));
  const open = new Set([...document.querySelectorAll('details[open]')].map(placeOf));
  document.getElementById('content').replaceChildren(
    summary(found),
    section('Parked writes', found.queue.filter(isParked).map(parked)),
    section('Pending writes', found.queue.filter((one) => !isParked(one)).map(plain)),
    tables(found),
    section('Accepted writes, newest first', found.history.map(plain)),
    facts(found),
  );
  for (const one of document.querySelectorAll('details')) one.open = open.has(placeOf(one));
}

/** Identifies a folded part, so that it stays open when the page changes. */
const placeOf = (details) => details.textContent;

function showError(text) {
  const error = document.getElementById('error');
  error.textContent = text;
  error.hidden = text === '';
}

let shown = '';
let timer;

async function refresh() {
  clearTimeout(timer);
  try {
    const response = await fetch('/inspection.json');
    const text = await response.text();
    if (!response.ok) throw new Error(response.status === 403 ? text : parseExactly(text).error);
    if (text !== shown) show(parseExactly(text));
    shown = text;
    showError('');
  } catch (error) {
    // A failed fetch is a TypeError.
    showError(error instanceof TypeError ? 'The command has ended: start `rejoin inspect --serve` again.' : error.message);
  }
  timer = setTimeout(poll, POLL_MS);
}

function poll() {
  if (!document.hidden) return void refresh();
  timer = setTimeout(poll, POLL_MS);
}

// The token is spent: a reload uses the cookie.
history.replaceState(null, '', '/');
document.getElementById('refresh').addEventListener('click', refresh);
void refresh();
