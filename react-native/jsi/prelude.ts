/**
 * What React Native or Node define and JavaScriptCore does not: timers, text encodings, cancellation, and the parts of `Buffer` and
 * `process` that the tests use. Not complete, and not for apps.
 */
const globals = globalThis as Record<string, unknown>;

// Timers run between two tasks, in the order of their times.
const timers = new Map<number, { at: number; run: () => void }>();
let lastTimer = 0;

function setTimeout(body: (...given: unknown[]) => void, milliseconds = 0, ...given: unknown[]): number {
  timers.set((lastTimer += 1), { at: host.now() + milliseconds, run: () => body(...given) });
  return lastTimer;
}

host.tick = () => {
  const next = (): [number, { at: number; run: () => void }] | undefined =>
    [...timers].reduce<[number, { at: number; run: () => void }] | undefined>((first, one) => (first !== undefined && first[1].at <= one[1].at ? first : one), undefined);
  const due = next();
  if (due !== undefined && due[1].at <= host.now()) {
    timers.delete(due[0]);
    due[1].run();
    return 0;
  }
  return due === undefined ? 1000 : Math.max(0, due[1].at - host.now());
};

const clear = (timer: number | undefined): void => void timers.delete(timer ?? 0);
Object.assign(globals, {
  setTimeout,
  clearTimeout: clear,
  setImmediate: (body: () => void) => setTimeout(body),
  queueMicrotask: (body: () => void) => void Promise.resolve().then(body),
  performance: { now: host.now },
});

const shown = (value: unknown): string => (value instanceof Error ? `${value.name}: ${value.message}\n${value.stack ?? ''}` : String(value));
const log = (...values: unknown[]): void => host.print(values.map(shown).join(' '));
globals['console'] = { log, info: log, warn: log, error: log, debug: log };

// The assertion library reports its assertions as events.
globals['EventTarget'] = class {
  addEventListener(): void {}
  dispatchEvent = (): boolean => true;
};
globals['Event'] = class {};

// One thread uses it.
globals['SharedArrayBuffer'] = ArrayBuffer;

globals['process'] = {
  env: new Proxy({}, { get: (_, name) => host.env(String(name)) }),
  argv: ['jsi', ...host.arguments],
  platform: 'linux',
  stderr: undefined,
};

/** The UTF-8 of a text; a lone surrogate becomes U+FFFD. */
function encode(text: string): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  for (const sign of text) {
    let code = sign.codePointAt(0) ?? 0;
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return Uint8Array.from(bytes);
}

/** The text of valid UTF-8. */
function decode(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at] ?? 0;
    const more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    let code = more === 0 ? first : first & (0x3f >> more);
    for (let next = 1; next <= more; next += 1) code = (code << 6) | ((bytes[at + next] ?? 0) & 63);
    parts.push(String.fromCodePoint(code));
    at += more + 1;
  }
  return parts.join('');
}

globals['TextEncoder'] = class {
  encode = encode;
  encodeInto(text: string, into: Uint8Array): { read: number; written: number } {
    const bytes = encode(text);
    into.set(bytes.subarray(0, into.length));
    return { read: text.length, written: Math.min(bytes.length, into.length) };
  }
};
globals['TextDecoder'] = class {
  decode = (bytes: Uint8Array): string => decode(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
};

class Signal {
  static abort(reason?: unknown): Signal {
    const signal = new Signal();
    signal.end(reason);
    return signal;
  }
  static timeout(milliseconds: number): Signal {
    const signal = new Signal();
    setTimeout(() => signal.end(Object.assign(new Error('The operation was aborted due to timeout'), { name: 'TimeoutError' })), milliseconds);
    return signal;
  }
  aborted = false;
  reason: unknown;
  readonly #listeners = new Set<() => void>();
  addEventListener(_: string, listener: () => void): void {
    this.#listeners.add(listener);
  }
  removeEventListener(_: string, listener: () => void): void {
    this.#listeners.delete(listener);
  }
  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }
  end(reason: unknown = Object.assign(new Error('This operation was aborted'), { name: 'AbortError' })): void {
    if (this.aborted) return;
    [this.aborted, this.reason] = [true, reason];
    for (const listener of this.#listeners) listener();
  }
}
globals['AbortSignal'] = Signal;
globals['AbortController'] = class {
  readonly signal = new Signal();
  abort(reason?: unknown): void {
    this.signal.end(reason);
  }
};

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

class Bytes extends (Uint8Array as unknown as new (content: number | ArrayBuffer | ArrayLike<number>) => Uint8Array<ArrayBuffer>) {
  static alloc(size: number, fill: number | Uint8Array = 0): Bytes {
    const made = new Bytes(size);
    if (typeof fill === 'number') made.fill(fill);
    else for (let at = 0; at < size; at += 1) made[at] = fill[at % fill.length] ?? 0;
    return made;
  }
  static from(what: string | ArrayBuffer | Iterable<number>, form = 'utf8'): Bytes {
    if (what instanceof ArrayBuffer) return new Bytes(what);
    if (typeof what !== 'string') return new Bytes([...what]);
    return new Bytes(form === 'hex' ? (what.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16)) : encode(what));
  }
  static of(...bytes: number[]): Bytes {
    return new Bytes(bytes);
  }
  static concat(parts: readonly Uint8Array[]): Bytes {
    const whole = new Bytes(parts.reduce((length, part) => length + part.length, 0));
    parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
    return whole;
  }
  static compare(one: Uint8Array, other: Uint8Array): number {
    const [a, b] = [Bytes.from(one).toString('hex'), Bytes.from(other).toString('hex')];
    return a < b ? -1 : a > b ? 1 : 0;
  }
  static byteLength(text: string): number {
    return encode(text).length;
  }
  get #view(): DataView {
    return new DataView(this.buffer, this.byteOffset, this.byteLength);
  }
  readDoubleBE(at = 0): number {
    return this.#view.getFloat64(at);
  }
  readBigUInt64LE(at = 0): bigint {
    return this.#view.getBigUint64(at, true);
  }
  writeDoubleBE(value: number, at = 0): void {
    this.#view.setFloat64(at, value);
  }
  writeDoubleLE(value: number, at = 0): void {
    this.#view.setFloat64(at, value, true);
  }
  writeBigInt64BE(value: bigint, at = 0): void {
    this.#view.setBigInt64(at, value);
  }
  writeBigInt64LE(value: bigint, at = 0): void {
    this.#view.setBigInt64(at, value, true);
  }
  writeUInt32LE(value: number, at = 0): void {
    this.#view.setUint32(at, value, true);
  }
  write(text: string, at = 0): void {
    this.set(encode(text), at);
  }
  override toString(form = 'utf8'): string {
    if (form === 'hex') return [...this].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    if (form !== 'base64') return decode(this);
    let text = '';
    for (let at = 0; at < this.length; at += 3) {
      const [a = 0, b, c] = this.subarray(at, at + 3);
      const bits = (a << 16) | ((b ?? 0) << 8) | (c ?? 0);
      text += DIGITS.charAt(bits >> 18) + DIGITS.charAt((bits >> 12) & 63);
      text += (b === undefined ? '=' : DIGITS.charAt((bits >> 6) & 63)) + (c === undefined ? '=' : DIGITS.charAt(bits & 63));
    }
    return text;
  }
}
globals['Buffer'] = Bytes;

globals['URL'] = class {
  readonly href: string;
  constructor(path: string, base = '') {
    const parts = path.includes('://') ? path.split('/') : [...base.split('/').slice(0, -1), ...path.split('/')];
    const kept: string[] = [];
    for (const part of parts) {
      if (part === '..') kept.pop();
      else if (part !== '.') kept.push(part);
    }
    this.href = kept.join('/');
  }
  toString(): string {
    return this.href;
  }
};
