/**
 * Runs the tests of the package on JavaScriptCore, with the native part that apps have; prints `ok NAME`, `FAILED NAME: REASON` and `left
 * out NAME: REASON`. Needs g++, libjavascriptcoregtk-4.1-dev, and the variables of `cargo xtask test --only react-native`. Arguments: the files to run,
 * `reloads`, or `bench`; all files and the reloads without any.
 *
 * It is not Hermes, and nothing of React Native runs.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { bundle, program, SANITIZED } from './build.mjs';

/** The test files; the others need Node: processes, servers, fake timers, types. */
const FILES = [
  ...['scenarios', 'row-buffer', 'cell-types', 'client', 'transaction', 'watch', 'queue', 'errors', 'actions', 'callbacks'],
  ...['database', 'handles', 'json', 'log', 'replays', 'stories', 'streams', 'text'],
];

const FETCH = 'there is no fetch';
/** Tests of these files that need what JavaScriptCore does not have, by a part of the name. */
const LEFT_OUT = {
  'fetch transport': FETCH,
  'mutation discarded while in flight is withdrawn': FETCH,
  'error or invalid response of a transport is retried': FETCH,
  'every prefix is decoded or refused as by the host': 'there is no TextDecoder to compare with',
};

const RELOADS = ['work in every state', 'a thread of the engine waits for JavaScript'].flatMap((name) => [[name], [name, 'without invalidate']]);
RELOADS.push(['invalidate inside a callback'], ['many reloads of a busy client']);

/** No process runs longer. */
const LIMIT_MS = 600_000;

/** Runs a bundle; passes its lines on, and reports a crash or a hang by the name. */
function run(host, path, name, options = []) {
  return new Promise((resolve) => {
    let failed = false;
    const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' };
    const child = spawn(host, [path, ...options], { stdio: ['ignore', 'pipe', 'inherit'], env, timeout: LIMIT_MS, killSignal: 'SIGKILL' });
    createInterface(child.stdout).on('line', (line) => {
      failed ||= line.startsWith('FAILED ');
      console.log(line);
    });
    child.on('close', (code, signal) => {
      if (code !== 0 && !failed) console.log(`FAILED ${name}: it ended with ${signal ?? `exit code ${code}`}`);
      resolve();
    });
  });
}

const wanted = process.argv.slice(2);
const is = (name) => wanted.length === 0 || wanted.includes(name);
const tasks = [];
if (is('reloads')) {
  const path = await bundle('reloads', `import './package'; import './reloads';`);
  const host = await program({ extra: SANITIZED });
  for (const options of RELOADS) tasks.push(() => run(host, path, `reload > ${options.join(', ')}`, options));
}
const files = FILES.filter(is);
const host = files.length > 0 ? await program() : '';
for (const file of files) {
  const name = `${file}.test.ts`;
  const contents = `import './package'; import { run } from './vitest'; import '../test/${name}';
    void run('${name}', ${JSON.stringify(LEFT_OUT)}).then((well) => host.exit(well ? 0 : 1));`;
  const path = await bundle(name, contents);
  tasks.push(() => run(host, path, name));
}
if (wanted.includes('bench')) tasks.push(async () => run(await program({ extra: ['-O2'] }), await bundle('bench', `import './package'; import './bench';`), 'bench'));
tasks.reverse();
const worker = async () => {
  for (let next; (next = tasks.pop()) !== undefined; ) await next();
};
await Promise.all([worker(), worker()]);
