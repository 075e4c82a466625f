/**
 * The decoders on fixed inputs, one line per result. Runs on Node and on Hermes, where it must print the same.
 *
 * `rejoin` is the folder of the packed modules, `vectors` the test vectors: the name and the bytes of each.
 */
import { decodeBase64, decodeJson, encodeBase64, encodeJson } from 'rejoin/json.js';
import { RowBuffer } from 'rejoin/row-buffer.js';
import { decodeUtf8 } from 'rejoin/text.js';
import { bind, real } from 'rejoin/value.js';
import { damaged, readable } from 'vectors';

const lines = [];
/** A long result is its length and a hash. */
function line(name, text) {
  let hash = 0;
  for (let at = 0; at < text.length; at += 1) hash = (Math.imul(hash, 31) + text.charCodeAt(at)) | 0;
  lines.push(`${name}: ${text.length < 400 ? text : `${text.length} ${hash}`}`);
}

/** Any value as text in ASCII; different values have different texts. */
function show(value) {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value);
  if (typeof value === 'string') return `"${value.replace(/[^ -~]|["\\]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16)}`)}"`;
  if (value instanceof Uint8Array) return `<${Array.from(value, (byte) => byte.toString(16)).join(' ')}>`;
  if (Array.isArray(value)) return `[${value.map(show).join()}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  return `{${Object.keys(value).map((key) => `${show(key)}:${show(value[key])}`).join()}}`;
}

/** What a call returns or throws. */
function outcome(call) {
  try {
    return show(call());
  } catch (error) {
    // The message of an error of the JavaScript engine differs.
    return `${error.name} ${error.code === undefined ? '' : `${error.code} ${show(error.message)}`}`;
  }
}

const bytesOf = (hex) => Uint8Array.from({ length: hex.length / 2 }, (_, at) => parseInt(hex.slice(2 * at, 2 * at + 2), 16));

for (const [name, hex] of readable) {
  const bytes = bytesOf(hex);
  line(name, outcome(() => new RowBuffer(bytes).toArray()));
  if (bytes.length >= 2000) continue;
  for (const integers of ['bigint', 'number']) line(`${name}, ${integers}`, outcome(() => new RowBuffer(bytes, { integers }).toArray()));
  line(`${name}, row by row`, outcome(() => [...new RowBuffer(bytes)]));
  line(`${name}, last cell`, outcome(() => new RowBuffer(bytes).cell(0, new RowBuffer(bytes).columns.length - 1)));
  const cut = Array.from(bytes, (_, length) => outcome(() => new RowBuffer(bytes.slice(0, length)).toArray()));
  line(`${name}, cut`, cut.join());
  const flipped = Array.from({ length: bytes.length * 8 }, (_, bit) => {
    const copy = bytes.slice();
    copy[bit >> 3] ^= 1 << (bit & 7);
    return outcome(() => new RowBuffer(copy).toArray());
  });
  line(`${name}, flipped`, flipped.join());
}
for (const [name, hex] of damaged) line(`damaged: ${name}`, outcome(() => new RowBuffer(bytesOf(hex)).toArray()));

/** UTF-8 by first and second byte, in sequences of each length. */
for (let first = 0; first < 256; first += 1) {
  const texts = [];
  for (let second = 0; second < 256; second += 1) {
    for (const rest of [[], [0x80], [0x80, 0x80], [0xbf, 0xbf, 0x42]]) {
      const bytes = Uint8Array.from([first, second, ...rest]);
      texts.push(show(decodeUtf8(bytes, 0, bytes.length)));
    }
  }
  line(`texts from ${first}`, texts.join());
}

const when = new Date(1e12);
const VALUES = [
  null, true, 7, -7, 1.5, -0, 2 ** 53 - 1, 2 ** 53, 1e300, 5e-324, 1e21, 0.1, Infinity, NaN, 2n ** 63n - 1n, 2n ** 63n, -(2n ** 63n),
  'a"\\\n\u0000\ud83d\ude00\u2028', '\udc00', 'a\ud800', undefined, () => 1, when, new Date(NaN), new Map(), new Uint8Array([1, 2, 255]), real(1),
  [1, [null]], [undefined], { a: 1, none: undefined, 'b"': { c: [] } }, { '\ud800': 1 },
];
VALUES.forEach((value, at) => {
  line(`json ${at}`, outcome(() => encodeJson(value, 'it')));
  line(`parameter ${at}`, outcome(() => bind(value, 'it')));
});
const TEXTS = ['{"big":9007199254740993,"small":-1,"real":1.0,"much":1e20,"text":"9007199254740993 \\" 1"}', '-9223372036854775808', '', '[1,', '[1.5,2]'];
for (const text of TEXTS) for (const integers of ['auto', 'bigint', 'number']) line(`${text}, ${integers}`, outcome(() => decodeJson(text, integers, 'it')));
for (let length = 0; length < 70; length += 1) {
  const bytes = Uint8Array.from({ length }, (_, at) => (at * 37 + length) & 255);
  line(`base64 ${length}`, outcome(() => [encodeBase64(bytes), decodeBase64(encodeBase64(bytes), 'it')]));
}
for (const wrong of ['A', 'AA', 'AAA', '=AAA', 'AA=A', 'A===', 'AA-_', 'AAAA=', ' AAA']) line(`base64 ${wrong}`, outcome(() => decodeBase64(wrong, 'it')));

// Hermes has `print`, Node has `console`.
(typeof print === 'function' ? print : console.log)(lines.join('\n'));
