/**
 * Metro bundles all packages and the runtime of the bindings, as the bundler of an app does. Other packages are left out: they are empty.
 *
 * React Native's configuration of Metro and its preset of Babel are not among the packages of this repository: the conditions are written
 * here as there, and `app/babel.config.cjs` compiles.
 */
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ENTRIES, install, module } from '../support.mjs';

const require = createRequire(module('metro/package.json'));
const { runBuild } = require('metro');
const { getDefaultConfig } = require('metro-config');

const OURS = /^([./]|@rejoin\/|@ubjs\/)/;

/** The bundle has the entry for React Native and every other package, and nothing of Node. */
export async function metro(packages) {
  const folder = await install(packages, 'metro', { from: 'app' });
  const entry = join(folder, 'index.js');
  writeFileSync(entry, ENTRIES);
  const defaults = await getDefaultConfig(folder);
  const config = {
    ...defaults,
    projectRoot: folder,
    watchFolders: [folder, module('@ubjs'), module('metro-runtime')],
    cacheStores: [],
    maxWorkers: 1,
    reporter: { update: () => {} },
    resolver: {
      ...defaults.resolver,
      nodeModulesPaths: [module('')],
      unstable_conditionNames: ['react-native'],
      resolveRequest: (context, name, platform) =>
        OURS.test(name) ? context.resolveRequest(context, name, platform) : { type: 'empty' },
    },
  };
  const { code } = await runBuild(config, { entry, platform: 'android', dev: false, minify: false, out: join(folder, 'out.js') });
  const names = ['build the app again', 'RejoinDialect', 'useParkedWrites', 'rejoinCollectionOptions', 'RejoinInspector', 'DrizzleDatabase'];
  for (const expected of names) {
    if (!code.includes(expected)) throw new Error(`the bundle does not contain ${expected}`);
  }
  if (code.includes('REJOIN_NODE_RUNTIME')) throw new Error('the bundle contains the package for Node');
}
