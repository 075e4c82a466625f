/** Runs the jest tests of an app with the packed packages, React Native's preset and the real engine. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { install, module, run } from '../support.mjs';

export async function jest(packages) {
  const folder = await install(packages, 'app', { from: 'app' });
  // One process, so that the second file loads the engine again.
  const report = join(folder, 'report.json');
  const options = ['--ci', '--runInBand', '--testTimeout=50000', '--json', `--outputFile=${report}`, `--cacheDirectory=${join(folder, 'cache')}`];
  await run(process.execPath, [module('jest/bin/jest.js'), ...options], folder);
  return `${JSON.parse(readFileSync(report, 'utf8')).numPassedTests} tests`;
}
