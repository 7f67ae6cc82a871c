/** The task of the bench, in TypeScript. */

import { task } from "lovage";

/** Adds two numbers. */
export const add = task("bench.add", (_ctx, x: number, y: number): number => x + y);
