/**
 * Checks the native parts of the package and its Expo plugin: `node native-tests/run.mjs [NAME...]`.
 *
 * Prints a line for each check and exits with 1 if one has failed. A check whose tool is missing is skipped, and fails if `CI=true`.
 */
import { checks as android } from './android.mjs';
import { checks as apple } from './apple.mjs';
import { checks as codegen } from './codegen.mjs';
import { checks as expo } from './expo.mjs';
import { checks as r8 } from './r8.mjs';
import { Missing } from './tools.mjs';

const all = [...codegen, ...android, ...r8, ...apple, ...expo];
const names = process.argv.slice(2);
const unknown = names.filter((name) => !all.some((check) => check.name === name));
if (unknown.length > 0) throw new Error(`no such check: ${unknown.join(', ')}; there are ${all.map(({ name }) => name).join(', ')}`);

let failed = 0;
for (const { name, check } of all.filter((one) => names.length === 0 || names.includes(one.name))) {
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    const skipped = error instanceof Missing && process.env.CI !== 'true';
    if (!skipped) failed += 1;
    console.log(`${skipped ? 'skipped' : 'FAILED'} ${name}: ${error instanceof Error ? error.message : error}`);
  }
}
process.exitCode = failed > 0 ? 1 : 0;
