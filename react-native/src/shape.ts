/**
 * Makers of row objects: a function for each list of columns, so that the engine builds all rows of a result in one step each.
 *
 * Promise: a maker gives the same plain objects as setting one property after the other, in a tenth of the time. Where code may not be
 * made of text (Hermes, a page whose policy forbids it) there is none, and rows are made the other way.
 * Border: column names are the only thing that gets into the text, as JSON strings, which JavaScript reads as themselves.
 */

/** Makes a row of its cells. */
export type Maker = (cells: readonly unknown[]) => object;

/** So many lists of columns are remembered; an app has fewer. */
const REMEMBERED = 256;
/** With more columns than this the engine would keep the row as a table of its own anyway. */
const WIDEST = 128;

const makers = new Map<string, Maker>();
let allowed = true;

/** The maker for these columns, of which undefined ones are left out; undefined where there can be none. */
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
