/** Checks of one tarball: the packed files, what publint says, and whether TypeScript resolves what Node runs. */
import { readFileSync } from 'node:fs';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { here, module, run } from '../support.mjs';

/**
 * Compares the packed files with `files/<name>.txt`: each file matches a line, and each line a file. In a line `*` is a part of a name,
 * and `**` of a path. Files of a line `release: ...` are added by the release, and are optional here.
 */
export async function files({ name, files }) {
  const lines = readFileSync(here(`files/${name}.txt`), 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const patterns = lines.map((line) => {
    const [, release, glob] = /^(release: )?(.*)$/.exec(line);
    const pattern = glob.replace(/[.+(){}[\]^$|\\?]/g, '\\$&').replace(/\*+/g, (stars) => (stars === '*' ? '[^/]*' : '.*'));
    return { line, optional: release !== undefined, pattern: new RegExp(`^${pattern}$`) };
  });
  const extra = files.filter((file) => !patterns.some(({ pattern }) => pattern.test(file)));
  const absent = patterns.filter(({ optional, pattern }) => !optional && !files.some((file) => pattern.test(file)));
  const problems = [...extra.map((file) => `${file} is packed`), ...absent.map(({ line }) => `no file matches ${line}`)];
  if (problems.length > 0) throw new Error(`files/${name}.txt differs from the tarball: ${problems.join('; ')}`);
  return `${files.length} files`;
}

/** publint in its strict mode: suggestions are failures too. */
export async function lint({ tarball }) {
  const packed = readFileSync(tarball);
  const pack = { tarball: packed.buffer.slice(packed.byteOffset, packed.byteOffset + packed.byteLength) };
  const { messages, pkg } = await publint({ pack, strict: true });
  if (messages.length > 0) throw new Error(messages.map((message) => formatMessage(message, pkg, { color: false })).join('; '));
}

/** are-the-types-wrong. The packages are ES modules only: Node 20.19 and Metro load these also by `require`. */
export async function attw({ tarball }) {
  // Expo imports the plugin, and no program does.
  const options = ['--profile', 'esm-only', '--no-color', '--no-emoji', '--exclude-entrypoints', 'app.plugin.js'];
  await run(process.execPath, [module('@arethetypeswrong/cli/dist/index.js'), tarball, ...options], here('.'));
}
