/** Enumerates the orders in which several actors can take their steps; each actor takes its own in order. */

/** One step of an actor. */
export interface Step {
  readonly actor: string;
  readonly name: string;
}

/** Every merge of the scripts that keeps the order of each script. */
export function* merges(scripts: Readonly<Record<string, readonly string[]>>): Generator<Step[]> {
  const actors = Object.keys(scripts);
  const total = actors.reduce((sum, actor) => sum + (scripts[actor]?.length ?? 0), 0);
  const taken: Record<string, number> = Object.fromEntries(actors.map((actor) => [actor, 0]));
  const order: Step[] = [];
  function* next(): Generator<Step[]> {
    if (order.length === total) {
      yield [...order];
      return;
    }
    for (const actor of actors) {
      const at = taken[actor] ?? 0;
      const name = scripts[actor]?.[at];
      if (name === undefined) continue;
      taken[actor] = at + 1;
      order.push({ actor, name });
      yield* next();
      order.pop();
      taken[actor] = at;
    }
  }
  yield* next();
}

/** Of so many orders one runs; all of them in the deep run. */
export const STRIDE = Number(process.env['REJOIN_CASES'] ?? 1) > 1 ? 1 : 4;

/** One of four merges. `shift` chooses others of them. */
export function* sample(scripts: Readonly<Record<string, readonly string[]>>, shift: number): Generator<Step[]> {
  let number = shift;
  for (const order of merges(scripts)) if (number++ % STRIDE === 0) yield order;
}

/** The number of merges in a sample. */
export function sampleCount(scripts: Readonly<Record<string, readonly string[]>>, shift: number): number {
  return Math.ceil((mergeCount(scripts) - ((STRIDE - (shift % STRIDE)) % STRIDE)) / STRIDE);
}

/** The number of merges: the multinomial coefficient, computed independently of `merges`. */
export function mergeCount(scripts: Readonly<Record<string, readonly string[]>>): number {
  let [ways, steps] = [1, 0];
  for (const script of Object.values(scripts)) {
    for (let at = 1; at <= script.length; at += 1) ways = (ways * (steps += 1)) / at;
  }
  return ways;
}
