/** The real server in a separate process, controlled by the line protocol of `tests/story-server`. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { within } from './world';

type Answer = Record<string, unknown>;

/** A running server. Ends with `quit` and with this process. */
export class StoryServer {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #queue: Promise<unknown> = Promise.resolve();
  /** The base URL. */
  url = '';
  /** The schema manifest, as an app bundles it. */
  schema = '';

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.#lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    child.stderr.pipe(process.stderr);
  }

  static async start({ tokens = false, log = false } = {}): Promise<StoryServer> {
    const program = process.env['REJOIN_STORY_SERVER'];
    if (program === undefined) throw new Error('REJOIN_STORY_SERVER is not set; `cargo xtask test --only javascript` sets it');
    const server = new StoryServer(spawn(program, [...(tokens ? ['--tokens'] : []), ...(log ? ['--log'] : [])]));
    server.url = String((await server.#next())['url']);
    server.schema = JSON.stringify((await server.order({ do: 'schema' }))['schema']);
    return server;
  }

  /** Sends a command and returns the answer. */
  order(order: Answer): Promise<Answer> {
    const answered = this.#queue.then(async () => {
      this.#child.stdin.write(`${JSON.stringify(order)}\n`);
      const answer = await this.#next();
      if (answer['error'] !== undefined) throw new Error(String(answer['error']));
      return answer;
    });
    this.#queue = answered.catch(() => undefined);
    return answered;
  }

  /** A token that expires after this many seconds. */
  async token(user: string, seconds = 600): Promise<string> {
    return String((await this.order({ do: 'token', user, seconds }))['token']);
  }

  /** Runs SQL on the server's file, as another program would. */
  async sql(sql: string): Promise<void> {
    await this.order({ do: 'sql', sql });
  }

  /** Queries the server's file. */
  async rows(sql: string): Promise<unknown[][]> {
    return (await this.order({ do: 'rows', sql }))['rows'] as unknown[][];
  }

  /** Ends it. */
  async quit(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin.end();
    await within(gone, 'the server ends with its input');
  }

  async #next(): Promise<Answer> {
    const { value, done } = await within(this.#lines.next(), 'the server answers');
    if (done === true) throw new Error('the server has ended');
    return JSON.parse(value) as Answer;
  }
}
