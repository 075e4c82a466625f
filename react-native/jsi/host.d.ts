/** What `host.cpp` gives a program. */
declare const host: {
  readonly round: number;
  readonly state: string;
  readonly arguments: readonly string[];
  /** Runs the timers that are due, and returns the milliseconds until the next; set by `prelude.ts`. */
  tick: () => number;
  now(): number;
  print(line: string): void;
  exit(code: number): void;
  /** Ends the runtime after so many further tasks, with or without `invalidate`; the program then starts again. */
  reload(tasks: number, invalidates: boolean): void;
  /** Sets the state of the next runtime. */
  keep(text: string): void;
  queued(): number;
  install(): void;
  invalidate(): void;
  env(name: string): string | undefined;
  read(path: string): string;
  exists(path: string): boolean;
  names(path: string): string[];
  folder(prefix: string): string;
  remove(path: string): void;
  start(words: string[], onLine: (line: string | null) => void): number;
  write(child: number, text: string): void;
  close(child: number): void;
};
