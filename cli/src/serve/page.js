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

function head({ path, format, first_sync, counts, facts }) {
  return section('Status', [
    table('', ['file', 'format', 'first sync', ...Object.keys(counts)], [[path, format, first_sync, ...Object.values(counts)]]),
    table('Stored facts', ['name', 'value'], Object.entries(facts)),
  ]);
}

function tables(all) {
  const rows = all.map(({ name, rows, base_rows, digest, writable }) => [name, rows, base_rows, digest, writable ? 'yes' : 'no']);
  const heads = ['name', 'rows', 'rows of the base', 'digest of the base', 'writable'];
  return section('Tables', rows.length === 0 ? [] : [table('', heads, rows)]);
}

const caption = ({ operation, table, key }) => `${operation} ${table} ${cell(key)}`;

function written(row) {
  const rows = Object.entries(row.columns).map(([name, one]) => [name, cell(one.old), cell(one.new)]);
  return table(caption(row), ['column', 'old', 'new'], rows);
}

/** A row of a parked mutation. The server reports its row (theirs) with a conflict only, as of the verdict. */
function compared(row, detail) {
  const conflicts = Array.isArray(detail?.rows) ? detail.rows : [];
  const keyText = typeof row.key === 'string' ? row.key : cell(row.key);
  const conflict = conflicts.find(({ table, id }) => table === row.table && String(id) === keyText);
  const theirs = (name) => (conflict === undefined ? 'not reported' : conflict.theirs ? cell(conflict.theirs[name]) : 'no row');
  // In the form of the server's values, which are not those of SQLite for booleans and bytes.
  const mine = (name, one) => (row.operation === 'delete' ? 'deleted' : cell(conflict?.mine?.[name] ?? one.new));
  const columns = Object.entries(row.columns);
  const rows = columns.map(([name, one]) => [name, cell(one.old), mine(name, one), theirs(name)]);
  const made = table(caption(row), ['column', 'before', 'mine', 'theirs, at the verdict'], rows);
  columns.forEach(([name], at) => made.rows[at + 1].classList.toggle('conflict', (conflict?.columns ?? []).includes(name)));
  return made;
}

function mutation(one, rows) {
  const { seq, id, state, action, attempt, written_ms, accepted_ms, reason, because_of, blocked_by, undoes, detail } = one;
  const facts = [`#${seq} ${id}`, state, `written ${time(written_ms)}`, accepted_ms && `accepted ${time(accepted_ms)}`, `attempt ${attempt}`];
  facts.push(action && `by ${action}`, blocked_by && `blocked by ${blocked_by}`, undoes && `reverts ${undoes}`);
  const lines = [facts.filter(Boolean).join(', ')];
  if (reason) lines.push(`Reason: ${reason}${because_of ? ` because of ${because_of}` : ''}`);
  if (typeof detail?.message === 'string') lines.push(`Message: ${detail.message}`);
  // The rows of a conflict are in the table.
  if (detail) lines.push(`Detail: ${typeof detail === 'string' ? detail : jsonText({ ...detail, rows: undefined })}`);
  return element('article', ...lines.map((text) => element('p', text)), ...rows);
}

function show(found) {
  const isParked = ({ state }) => state === 'parked';
  const plain = (one) => mutation(one, one.rows.map(written));
  const parked = (one) => mutation(one, one.rows.map((row) => compared(row, one.detail)));
  document.getElementById('content').replaceChildren(
    head(found),
    tables(found.tables),
    section('Pending', found.queue.filter((one) => !isParked(one)).map(plain)),
    section('Parked', found.queue.filter(isParked).map(parked)),
    section('History', found.history.map(plain)),
  );
}

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
