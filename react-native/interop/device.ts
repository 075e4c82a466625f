/**
 * The device of `tests/interop` in TypeScript: one command a line on standard input, one answer a line on standard output, in order.
 *
 * Writes only answers to standard output, and ends when its standard input closes. The commands are in `commands.ts`.
 */
import { createInterface } from 'node:readline';
import { Device, type Json } from './commands';

const device = new Device();
for await (const line of createInterface(process.stdin)) {
  const command = JSON.parse(line) as Json;
  process.stdout.write(`${JSON.stringify(await device.answer(command))}\n`);
  if (command.do === 'quit') break;
}
process.exit(0);
