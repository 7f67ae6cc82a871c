/** From TypeScript's types to JSON schemas. */

/** Types nested deeper than this allow everything. */
const DEPTH_MAX = 12;

/** The JSON schema of a type; `{}` allows everything. */
export function schemaOf(ts, checker, type, above = []) {
  const flags = ts.TypeFlags;
  const of = (inner) => schemaOf(ts, checker, inner, [...above, type]);
  if (above.length > DEPTH_MAX || above.includes(type)) return {};
  if (type.flags & (flags.Any | flags.Unknown | flags.TypeParameter)) return {};
  if (type.flags & flags.StringLiteral || type.flags & flags.NumberLiteral) return { enum: [type.value] };
  if (type.flags & flags.BooleanLiteral) return { enum: [checker.typeToString(type) === "true"] };
  if (type.flags & flags.StringLike) return { type: "string" };
  if (type.flags & flags.NumberLike) return { type: "number" };
  if (type.flags & flags.BigIntLike) return { type: "integer" };
  if (type.flags & flags.BooleanLike) return { type: "boolean" };
  if (type.flags & (flags.Null | flags.Undefined | flags.Void)) return { type: "null" };
  if (type.isUnion()) return unionOf(type.types, of);
  if (checker.isTupleType(type)) return tupleOf(checker, type, of);
  if (checker.isArrayType(type)) return { type: "array", items: of(checker.getTypeArguments(type)[0]) };
  if (type.flags & (flags.Object | flags.Intersection)) return objectOf(ts, checker, type, of);
  return {};
}

function unionOf(types, of) {
  const schemas = types.map(of);
  const literals = schemas.filter((one) => one.enum).flatMap((one) => one.enum);
  const others = schemas.filter((one) => !one.enum);
  if (literals.includes(true) && literals.includes(false)) {
    others.unshift({ type: "boolean" });
    literals.splice(0, literals.length, ...literals.filter((one) => typeof one !== "boolean"));
  }
  if (literals.length > 0) others.unshift({ enum: literals });
  // A type that allows everything leaves nothing to say of the others.
  if (others.some((one) => Object.keys(one).length === 0)) return {};
  const different = [...new Map(others.map((one) => [JSON.stringify(one), one])).values()];
  return different.length === 1 ? different[0] : { anyOf: different };
}

function tupleOf(checker, type, of) {
  const places = checker.getTypeArguments(type);
  const { minLength, fixedLength, hasRestElement } = type.target;
  const schema = { type: "array", prefixItems: places.slice(0, fixedLength).map(of), minItems: minLength };
  return hasRestElement ? { ...schema, items: of(places[fixedLength]) } : { ...schema, maxItems: fixedLength };
}

function objectOf(ts, checker, type, of) {
  // Classes and functions have no JSON form of their own.
  if (type.getCallSignatures().length > 0 || isClass(ts, type)) return {};
  const properties = {};
  const required = [];
  for (const property of type.getProperties()) {
    const optional = (property.flags & ts.SymbolFlags.Optional) !== 0;
    const declared = checker.getTypeOfSymbol(property);
    properties[property.name] = of(optional ? checker.getNonNullableType(declared) : declared);
    if (!optional) required.push(property.name);
  }
  const index = checker.getIndexInfosOfType(type)[0];
  const schema = { type: "object", properties, required: required.sort() };
  if (index) return { ...schema, additionalProperties: of(index.type) };
  return Object.keys(properties).length > 0 ? schema : { type: "object" };
}

function isClass(ts, type) {
  const symbol = type.getSymbol();
  return symbol !== undefined && (symbol.flags & ts.SymbolFlags.Class) !== 0 ||
    ["Date", "Uint8Array", "Map", "Set", "Promise"].includes(symbol?.name ?? "");
}
