/**
 * Compiles a row constructor for each list of columns, so that the JavaScript engine creates each row from one object literal.
 *
 * The objects equal those made by setting one property after the other, in a tenth of the time. Where `new Function` is not available
 * (Hermes, a content security policy), there is no constructor. The generated code contains column names only as JSON strings.
 */

/** Creates a row object from its cells. */
export type Maker = (cells: readonly unknown[]) => object;

/** Maximum number of cached column lists; an app has fewer. */
const REMEMBERED = 256;
/** With more columns than this the JavaScript engine stores the object as a hash table anyway. */
const WIDEST = 128;

const makers = new Map<string, Maker>();
let allowed = true;

/** The constructor for these columns, without the undefined ones; undefined if none can be compiled. */
export function makerOf(keys: readonly (string | undefined)[]): Maker | undefined {
  // In a literal this name would set the prototype.
  if (!allowed || keys.length > WIDEST || keys.includes('__proto__')) return undefined;
  const members = keys.flatMap((key, at) => (key === undefined ? [] : [`${JSON.stringify(key)}:cells[${at}]`]));
  const text = `return {${members.join(',')}};`;
  const known = makers.get(text);
  if (known !== undefined) return known;
  try {
    const made = new Function('cells', text) as Maker;
    if (makers.size >= REMEMBERED) makers.clear();
    makers.set(text, made);
    return made;
  } catch {
    allowed = false;
    return undefined;
  }
}
