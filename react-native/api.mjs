/**
 * node api.mjs PACKAGE: prints the declarations that the entry points of a package export, by the TypeScript compiler, for
 * `cargo xtask api`. The entry points are `index.ts` of `src` and of its folders; base classes of what they export are listed, too.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(fileURLToPath(import.meta.url));
const project = process.argv[2];
const folder = join(root, '../target/typescript-api');
rmSync(folder, { recursive: true, force: true });
const options = ['--noEmit', 'false', '--declaration', '--emitDeclarationOnly', '--removeComments', '--rootDir', '.', '--outDir', folder];
// What the compiler prints is not part of the list.
execFileSync('npm', ['exec', '--', 'tsc', '--project', project, ...options], { cwd: root, stdio: ['ignore', 2, 'inherit'] });

/** The text of each module by its path, in a folder and in those below it that are entry points. */
function collect(place, prefix) {
  return readdirSync(place).flatMap((name) => {
    const path = join(place, name);
    if (existsSync(join(path, 'index.d.ts'))) return collect(path, `${prefix}/${name}`);
    return name.endsWith('.d.ts') ? [[`${prefix}/${name.slice(0, -'.d.ts'.length)}`, readFileSync(path, 'utf8')]] : [];
  });
}

const byName = ([one], [other]) => (one < other ? -1 : 1);
const modules = new Map(collect(join(folder, project, 'src'), '.').sort(byName));
if (!modules.has('./index')) throw new Error('no index.d.ts');

/** The exported declarations of a module, without those that pass names of other modules on. */
function exported(text) {
  const declarations = text.split(/^(?=export |import |declare )/m);
  return declarations.filter((declaration) => /^export (?!\{|type \{|\*)/.test(declaration));
}

/** The word after the keywords of a declaration. */
function nameOf(declaration) {
  return /^(?:(?:export|declare|abstract|class|interface|type|function|const|enum)\W+)*(\w+)/.exec(declaration)[1];
}

// A type and a value may have the same name.
const declarations = new Map();
for (const declaration of [...modules.values()].flatMap(exported)) {
  const name = nameOf(declaration);
  declarations.set(name, [...(declarations.get(name) ?? []), declaration.trimEnd()]);
}

const wanted = [];
for (const [entry, text] of modules) {
  if (!entry.endsWith('/index')) continue;
  for (const [, what, from] of text.matchAll(/^export (?:type )?(\*|\{[^}]*\}) from ['"]([^'"]*)['"]/gm)) {
    const module = from.replace('.', dirname(entry));
    if (!modules.has(module)) throw new Error(`no module ${module}`);
    const names = what.replace(/[{}]/g, '').split(',').map((name) => name.trim().replace(/^type /, ''));
    wanted.push(...(what === '*' ? exported(modules.get(module)).map(nameOf) : names));
  }
}

const found = new Map();
while (wanted.length > 0) {
  const name = wanted.pop();
  if (found.has(name) || !declarations.has(name)) continue;
  found.set(name, declarations.get(name));
  for (const declaration of declarations.get(name)) {
    const base = /^[^{]* class [^{]* extends (\w+)/.exec(declaration);
    if (base) wanted.push(base[1]);
  }
}
for (const [, texts] of [...found].sort(byName)) console.log(texts.join('\n'));
