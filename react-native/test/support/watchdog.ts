/**
 * A watchdog that outlives a deadlock: a thread that ends the process, with the name of what was going on, when there was no sign of
 * life for too long. A timer of the thread that hangs would hang with it.
 */
import { Worker } from 'node:worker_threads';

const NAME = 4096;

/** Watches over what is done one after the other. */
export class Watchdog {
  readonly #signs = new Int32Array(new SharedArrayBuffer(8));
  readonly #name = new Uint8Array(new SharedArrayBuffer(NAME));
  readonly #worker: Worker;

  constructor(milliseconds: number) {
    const source = `
      const { workerData: { signs, name, milliseconds } } = require('node:worker_threads');
      let [seen, since] = [-1, Date.now()];
      setInterval(() => {
        const sign = Atomics.load(signs, 0);
        if (sign !== seen) [seen, since] = [sign, Date.now()];
        if (Date.now() - since < milliseconds) return;
        const text = Buffer.from(name).subarray(0, Atomics.load(signs, 1)).toString();
        require('node:fs').writeSync(2, 'watchdog: no sign of life for ' + milliseconds + ' ms in: ' + text + '\\n');
        process.kill(process.pid, 'SIGKILL');
      }, 250);`;
    const workerData = { signs: this.#signs, name: this.#name, milliseconds };
    this.#worker = new Worker(source, { eval: true, workerData });
    this.#worker.unref();
  }

  /** A sign of life: this begins now. */
  begin(what: string): void {
    const { written } = new TextEncoder().encodeInto(what, this.#name);
    Atomics.store(this.#signs, 1, written);
    Atomics.add(this.#signs, 0, 1);
  }

  /** There is nothing to watch over any more. */
  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
