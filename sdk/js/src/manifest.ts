/** What a module says of itself. */

import { TASKS } from "./task.js";

/** The manifest's JSON text: the same for the same module, whenever it is asked. */
export function manifest(module: string): string {
  const names = [...TASKS.keys()].sort();
  const tasks = names.map((name) => {
    try {
      return TASKS.get(name)!.manifest();
    } catch (error: any) {
      throw new TypeError(`task ${name}: ${error.message}`);
    }
  });
  return JSON.stringify({ v: 1, abi: "lovage:task@0.1.0", module, language: "typescript", tasks });
}
