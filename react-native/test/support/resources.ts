/** Resource usage of this process on Linux. */
import { readdirSync, readFileSync } from 'node:fs';

/** Memory in KiB, threads and open descriptors. */
export interface Resources {
  readonly memory: number;
  readonly threads: number;
  readonly descriptors: number;
}

/** Measures after a garbage collection, if the process allows one; undefined without `/proc`. */
export function resources(): Resources | undefined {
  (globalThis as { gc?: () => void }).gc?.();
  try {
    const status = readFileSync('/proc/self/status', 'utf8');
    const number = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
    return { memory: number('VmRSS'), threads: number('Threads'), descriptors: readdirSync('/proc/self/fd').length };
  } catch {
    return undefined;
  }
}
