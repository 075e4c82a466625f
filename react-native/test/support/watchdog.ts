/**
 * A watchdog thread that kills the process, and prints the name of the current task, when `begin` was not called for too long. A timer of
 * the main thread does not fire while that thread hangs.
 */
import { Worker } from 'node:worker_threads';

const NAME = 4096;

/** Watches over sequential tasks. */
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
        require('node:fs').writeSync(2, 'watchdog: no progress for ' + milliseconds + ' ms in: ' + text + '\\n');
        process.kill(process.pid, 'SIGKILL');
      }, 250);`;
    const workerData = { signs: this.#signs, name: this.#name, milliseconds };
    this.#worker = new Worker(source, { eval: true, workerData });
    this.#worker.unref();
  }

  /** Reports that a task begins now. */
  begin(what: string): void {
    const { written } = new TextEncoder().encodeInto(what, this.#name);
    Atomics.store(this.#signs, 1, written);
    Atomics.add(this.#signs, 0, 1);
  }

  /** Ends the watchdog. */
  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
