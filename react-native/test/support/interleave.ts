/** All orders in which several actors can take their steps, each its own in order. */

/** One step: whose, and which. */
export interface Step {
  readonly actor: string;
  readonly name: string;
}

/** Every way to merge the scripts; each keeps its order. */
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

/** How many merges there are: the multinomial coefficient, computed in another way than by counting them. */
export function mergeCount(scripts: Readonly<Record<string, readonly string[]>>): number {
  let [ways, steps] = [1, 0];
  for (const script of Object.values(scripts)) {
    for (let at = 1; at <= script.length; at += 1) ways = (ways * (steps += 1)) / at;
  }
  return ways;
}
