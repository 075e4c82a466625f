/**
 * Strict and fast decoding of UTF-8.
 *
 * Invalid UTF-8 (overlong forms, surrogates, cut sequences) is never decoded; a BOM is kept. Uses Node's `Buffer` and `TextDecoder` if
 * available, and needs neither.
 */

/** Decodes a range of bytes as Latin-1; Node's buffers do it natively. */
type Latin1 = (start: number, end: number) => string;

interface NodeBuffer {
  from(buffer: ArrayBufferLike, offset: number, length: number): { latin1Slice?: Latin1 };
}

interface Decoder {
  decode(bytes: Uint8Array): string;
}

type DecoderClass = new (label: string, options: { fatal: boolean; ignoreBOM: boolean }) => Decoder;

/** The decoders of the host; a test can remove them. */
export interface Host {
  readonly Buffer?: NodeBuffer | undefined;
  readonly TextDecoder?: DecoderClass | undefined;
}

/**
 * Short texts are substrings of a chunk that is decoded at once. The chunk size starts at `LEAST`, also after random access, and grows to
 * `MOST` for sequential access. V8 does not move strings from 128 KiB on, which saves the largest cost. An engine may keep the whole chunk
 * alive as long as one of its substrings, so the size is limited.
 */
const LEAST = 4 * 1024;
const MOST = 256 * 1024;
/** From this length on a text is decoded separately, so that it does not keep a chunk alive. */
const LONG = 512;
/** From this length on a call of the host's decoder pays off. */
const WORTH_A_DECODER = 48;
/** Number of characters per `String.fromCharCode` call, whose arguments are limited. */
const BATCH = 4096;

/** Decodes texts of one block of bytes. Its fields are not `#private`, which is slow on Hermes, because they are read once per cell. */
export class Texts {
  private readonly words: Uint32Array;
  private readonly shift: number;
  private readonly latin1: Latin1 | undefined;
  private readonly decoder: Decoder | undefined;
  /** No byte from `cleanFrom` to `cleanTo` is above 127. */
  private cleanFrom = 0;
  private cleanTo = 0;
  private chunk = '';
  private chunkStart = 0;
  private chunkEnd = 0;
  private size = LEAST;

  constructor(
    private readonly bytes: Uint8Array,
    host: Host = globalThis as Host,
  ) {
    // Four-byte words are aligned in the underlying buffer, and `bytes` may start at any offset of it.
    this.shift = -bytes.byteOffset & 3;
    const words = Math.max(0, bytes.length - this.shift) >>> 2;
    this.words = new Uint32Array(bytes.buffer, words === 0 ? 0 : bytes.byteOffset + this.shift, words);
    const buffer = host.Buffer?.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.latin1 = buffer?.latin1Slice?.bind(buffer);
    this.decoder = host.TextDecoder === undefined ? undefined : strictDecoder(host.TextDecoder);
  }

  /** The text from `start` to `end`, both within the bytes; undefined if it is not UTF-8. */
  at(start: number, end: number): string | undefined {
    if (start === end) return '';
    if (start < this.cleanFrom || start > this.cleanTo) this.cleanFrom = this.cleanTo = start;
    if (this.cleanTo < end) this.cleanTo = this.cleanUntil(this.cleanTo, Math.max(end, start + this.size));
    if (this.cleanTo < end) return this.unicode(start, end);
    if (this.latin1 === undefined) return characters(this.bytes, start, end);
    if (end - start >= LONG) return this.latin1(start, end);
    if (start < this.chunkStart || end > this.chunkEnd) {
      const sequential = start >= this.chunkStart && start <= this.chunkEnd + LEAST;
      this.size = sequential ? Math.min(this.size * 4, MOST) : LEAST;
      this.chunkStart = start;
      this.chunkEnd = Math.min(start + this.size, this.bytes.length);
      this.chunk = this.latin1(start, this.chunkEnd);
    }
    return this.chunk.substring(start - this.chunkStart, end - this.chunkStart);
  }

  /** The offset of the first byte above 127 from `at` on; an offset of at least `limit` if there is none before it. */
  private cleanUntil(at: number, limit: number): number {
    const { bytes, words, shift } = this;
    const length = bytes.length;
    for (; at < length && ((at - shift) & 3) !== 0; at += 1) {
      if ((bytes[at] as number) > 127) return at;
    }
    let word = (at - shift) / 4;
    const last = Math.min(words.length, Math.ceil((limit - shift) / 4));
    while (word < last && ((words[word] as number) & 0x80808080) === 0) word += 1;
    at = Math.max(at, shift + word * 4);
    while (at < length && at < limit && (bytes[at] as number) <= 127) at += 1;
    return at;
  }

  private unicode(start: number, end: number): string | undefined {
    if (this.decoder === undefined || end - start < WORTH_A_DECODER) return decodeUtf8(this.bytes, start, end);
    try {
      return this.decoder.decode(this.bytes.subarray(start, end));
    } catch {
      return undefined;
    }
  }
}

/** A decoder that rejects invalid UTF-8, if the host's supports that; some can only replace. */
function strictDecoder(TextDecoder: DecoderClass): Decoder | undefined {
  try {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    if (decoder.decode(Uint8Array.of(0xef, 0xbb, 0xbf)).length !== 1) return undefined;
    try {
      decoder.decode(Uint8Array.of(0xc0, 0x80));
    } catch {
      return decoder;
    }
  } catch {
    // The options are not supported.
  }
  return undefined;
}

/** Bytes below 128 as characters. */
function characters(bytes: Uint8Array, start: number, end: number): string {
  let text = '';
  while (end - start > BATCH) {
    text += String.fromCharCode.apply(null, bytes.subarray(start, start + BATCH) as unknown as number[]);
    start += BATCH;
  }
  return text + String.fromCharCode.apply(null, bytes.subarray(start, end) as unknown as number[]);
}

/** Decodes the text from `start` to `end` in plain JavaScript; undefined if it is not UTF-8. */
export function decodeUtf8(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = '';
  let units: number[] = [];
  while (start < end) {
    const point = codePoint(bytes, start, end);
    if (point === undefined) return undefined;
    start += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (point < 0x10000) units.push(point);
    else units.push(0xd7c0 + (point >> 10), 0xdc00 + (point & 0x3ff));
    if (units.length >= BATCH) {
      text += String.fromCharCode.apply(null, units);
      units = [];
    }
  }
  return text + String.fromCharCode.apply(null, units);
}

/** The code point at `at`; undefined if there is no valid one before `end`. */
function codePoint(bytes: Uint8Array, at: number, end: number): number | undefined {
  const first = bytes[at] as number;
  if (first < 0x80) return first;
  const [more, least] = first >= 0xf0 ? [3, 0x10000] : first >= 0xe0 ? [2, 0x800] : [1, 0x80];
  if (first < 0xc2 || first > 0xf4 || at + more >= end) return undefined;
  let point = first & (0x3f >> more);
  for (let next = at + 1; next <= at + more; next += 1) {
    const byte = bytes[next] as number;
    if ((byte & 0xc0) !== 0x80) return undefined;
    point = (point << 6) | (byte & 0x3f);
  }
  const surrogate = point >= 0xd800 && point <= 0xdfff;
  return point < least || point > 0x10ffff || surrogate ? undefined : point;
}
