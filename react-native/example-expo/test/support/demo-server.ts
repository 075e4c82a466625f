/**
 * The server of examples/android/server in a separate process, started as its README says, with the places of the demo.
 *
 * The database is in a new folder, which is removed at the end. The program is the one next to `REJOIN_STORY_SERVER`.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { json } from 'node:stream/consumers';
import { within } from '../../../test/support/world';

const FILES = join(import.meta.dirname, '../../../../examples/android/server');

/** A running server. Ends with `quit` and with this process. */
export class DemoServer {
  readonly #folder: string;
  readonly #child: ChildProcess;

  private constructor(
    folder: string,
    child: ChildProcess,
    /** The base URL. */
    readonly url: string,
  ) {
    this.#folder = folder;
    this.#child = child;
  }

  static async start(): Promise<DemoServer> {
    const story = process.env['REJOIN_STORY_SERVER'];
    if (story === undefined) throw new Error('REJOIN_STORY_SERVER is not set; `cargo xtask test --only javascript` sets it');
    const folder = mkdtempSync(join(tmpdir(), 'rejoin-example-'));
    const database = join(folder, 'demo.db');
    for (const file of ['tables.sql', 'load.sql']) execFileSync('sqlite3', [database], { cwd: FILES, input: readFileSync(join(FILES, file)) });
    const options = ['serve', '--config', join(FILES, 'rejoin.toml'), '--listen', '127.0.0.1:0'];
    const env = { ...process.env, REJOIN_DATABASE: database };
    const child = spawn(join(dirname(story), 'rejoin-server'), options, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    process.once('exit', () => child.kill());
    const [line] = (await within(once(createInterface(child.stdout), 'line'), 'the server listens')) as [string];
    return new DemoServer(folder, child, line.replace('listening on ', ''));
  }

  /** A token as the README obtains it. */
  token(user = 'inspectors'): string {
    return execFileSync('sh', ['token.sh', user], { cwd: FILES, encoding: 'utf8' }).trim();
  }

  /** The manifest that devices get, without the time. */
  async schema(): Promise<object> {
    const request = get(`${this.url}/sync/schema`, { headers: { Authorization: `Bearer ${this.token()}` } });
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    return { ...((await json(answer)) as object), server_time: '' };
  }

  /** Runs SQL on the server's database, as another program would, and returns its output. */
  sql(sql: string): string {
    return execFileSync('sqlite3', ['-cmd', '.timeout 5000', join(this.#folder, 'demo.db'), sql], { encoding: 'utf8' }).trim();
  }

  async quit(): Promise<void> {
    const gone = once(this.#child, 'exit');
    this.#child.kill();
    await within(gone, 'the server ends');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
