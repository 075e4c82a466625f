/** The members of Node's modules that the tests use, on `host`. */

export const fileURLToPath = (url: URL | string): string => String(url).replace('file://', '');
export const readFileSync = (path: URL | string): string => host.read(fileURLToPath(path));
export const readdirSync = (path: string): string[] => host.names(path);
export const existsSync = host.exists;
export const mkdtempSync = host.folder;
export const rmSync = (path: string): void => host.remove(path);
export const tmpdir = (): string => host.env('TMPDIR') ?? '/tmp';
export const join = (...parts: string[]): string => parts.join('/').replace(/\/+/g, '/');
export const dirname = (path: string): string => path.slice(0, path.lastIndexOf('/'));

/** A child process; its output is read by lines. */
class Child {
  readonly #lines: (string | null)[] = [];
  readonly #exits: (() => void)[] = [];
  #news: () => void = () => undefined;
  readonly #id: number;
  readonly stderr = { pipe: () => undefined };
  readonly stdin = { write: (text: string) => host.write(this.#id, text), end: () => host.close(this.#id) };
  readonly stdout = this;

  constructor(program: string, options: readonly string[]) {
    this.#id = host.start([program, ...options], (line) => {
      this.#lines.push(line);
      this.#news();
      if (line === null) this.#exits.splice(0).forEach((exit) => exit());
    });
  }

  once(_: 'exit', call: () => void): void {
    this.#exits.push(call);
  }

  async next(): Promise<{ value: string; done: boolean }> {
    while (this.#lines.length === 0) await new Promise<void>((resolve) => (this.#news = resolve));
    const line = this.#lines.shift() ?? null;
    return { value: line ?? '', done: line === null };
  }
}

export const spawn = (program: string, options: readonly string[] = []): Child => new Child(program, options);
export const createInterface = (child: Child): object => ({ [Symbol.asyncIterator]: () => child });

/** The watchdog is in the program that starts this one. */
export class Worker {
  unref(): void {}
  async terminate(): Promise<void> {}
}

const missing = (name: string) => (): never => {
  throw new Error(`${name} does not exist here`);
};
export const createServer = missing('createServer');
export const createRequire = missing('createRequire');
