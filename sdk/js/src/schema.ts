/** Looks whether a value is what a JSON schema promises, of the kinds that a builder derives from types. */

import { Mismatch } from "./errors.js";

/** A JSON schema, of the words that are understood here. */
export interface Schema {
  type?: string;
  properties?: { [name: string]: Schema };
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  prefixItems?: Schema[];
  minItems?: number;
  maxItems?: number;
  enum?: unknown[];
  anyOf?: Schema[];
  [word: string]: unknown;
}

/** Throws a `Mismatch` that says where `value` is not what `schema` promises. */
export function check(value: unknown, schema: Schema, where: string): void {
  const problem = mismatch(value, schema, where);
  if (problem !== null) throw new Mismatch(problem);
}

function mismatch(value: unknown, schema: Schema, where: string): string | null {
  if (schema.anyOf) {
    if (schema.anyOf.some((one) => mismatch(value, one, where) === null)) return null;
    // Where only one alternative is of the value's type, what is wrong inside of it says more.
    const near = schema.anyOf.filter((one) => one.type !== undefined && is(value, one.type));
    if (near.length === 1) return mismatch(value, near[0]!, where);
    return `${where} must be ${shown(schema)}, not ${kind(value)}`;
  }
  if (schema.enum && !schema.enum.some((one) => one === value)) {
    return `${where} must be ${shown(schema)}, not ${JSON.stringify(value) ?? kind(value)}`;
  }
  if (schema.type !== undefined && !is(value, schema.type)) {
    return `${where} must be ${shown(schema)}, not ${kind(value)}`;
  }
  if (schema.type === "array") return inArray(value as unknown[], schema, where);
  if (schema.type === "object") return inObject(value as { [name: string]: unknown }, schema, where);
  return null;
}

function inArray(values: unknown[], schema: Schema, where: string): string | null {
  const { minItems = 0, maxItems = Infinity, prefixItems = [] } = schema;
  if (values.length < minItems || values.length > maxItems) {
    return `${where} must have ${minItems === maxItems ? minItems : `${minItems} to ${maxItems}`} items, not ${values.length}`;
  }
  for (const [index, value] of values.entries()) {
    const of = prefixItems[index] ?? schema.items;
    const problem = of ? mismatch(value, of, `${where}[${index}]`) : null;
    if (problem !== null) return problem;
  }
  return null;
}

function inObject(value: { [name: string]: unknown }, schema: Schema, where: string): string | null {
  for (const name of schema.required ?? []) {
    if (value[name] === undefined) return `${where} lacks the field ${JSON.stringify(name)}`;
  }
  for (const [name, one] of Object.entries(value)) {
    const of = schema.properties?.[name] ?? schema.additionalProperties;
    if (of === false) return `${where} has no field ${JSON.stringify(name)}`;
    const problem = typeof of === "object" ? mismatch(one, of, `${where}.${name}`) : null;
    if (problem !== null) return problem;
  }
  return null;
}

function is(value: unknown, type: string): boolean {
  switch (type) {
    case "integer":
      return typeof value === "bigint" || Number.isInteger(value);
    case "number":
      return typeof value === "number" || typeof value === "bigint";
    case "null":
      return value === null || value === undefined;
    case "array":
      return Array.isArray(value);
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    default:
      return typeof value === type;
  }
}

function kind(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value === "bigint" ? "integer" : typeof value;
}

function shown(schema: Schema): string {
  if (schema.anyOf) return schema.anyOf.map(shown).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  return schema.type ?? "any";
}
