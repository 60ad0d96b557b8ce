// From a tool's JSON Schema to descriptions of controls, and from the controls' values to form fields.
// Pure functions.

/** @import { Fields, Parameters, Property } from "./types.js" */

/**
 * @typedef {object} Kind
 * @property {"choice" | "switch" | "range" | "number" | "color" | "text"} kind
 * @property {string[]} [options] of a choice
 * @property {number} [min]
 * @property {number} [max]
 * @property {number} [step]
 */

/**
 * @typedef {Kind & {
 *   name: string,
 *   label: string,
 *   help: string,
 *   initial: string,
 *   isRequired: boolean,
 *   isOptional: boolean,
 * }} ControlSpec
 */

const MAX_SLIDER_RANGE = 400; // wider ranges get a number field
/** @type {Record<string, string>} */
const ABBREVIATIONS = { bg: "background", roi: "region" };

/**
 * "bg_color" as a person reads it: "Background color".
 * @param {string} name
 */
export function labelOf(name) {
  const words = name.split("_").map((word) => ABBREVIATIONS[word] ?? word);
  const text = words.join(" ");
  return text[0].toUpperCase() + text.slice(1);
}

/**
 * The controls of a tool's parameters, in their order.
 * @param {Parameters} parameters
 * @returns {ControlSpec[]}
 */
export function controlSpecs(parameters) {
  const required = new Set(parameters.required ?? []);
  return Object.entries(parameters.properties).map(([name, property]) => {
    const { main, isOptional } = unwrap(property);
    return {
      name,
      label: labelOf(name),
      help: property.description ?? "",
      initial: textOf(property.default),
      isRequired: required.has(name),
      isOptional,
      ...kindOf(name, main, isOptional),
    };
  });
}

/**
 * The form fields of these values. Values that are empty or the default are left out.
 * @param {ControlSpec[]} specs
 * @param {Partial<Fields>} values
 * @returns {Fields}
 */
export function toFields(specs, values) {
  /** @type {Fields} */
  const fields = {};
  for (const spec of specs) {
    const value = values[spec.name];
    if (value === undefined || value === "" || value === spec.initial) continue;
    fields[spec.name] = value;
  }
  return fields;
}

/**
 * The part of `anyOf` that is not null, which describes the value.
 * @param {Property} property
 */
function unwrap(property) {
  const parts = property.anyOf ?? [property];
  const main = parts.find((part) => part.type !== "null") ?? property;
  return { main, isOptional: parts.some((part) => part.type === "null") };
}

/**
 * @param {string} name
 * @param {Property} property
 * @param {boolean} isOptional
 * @returns {Kind}
 */
function kindOf(name, property, isOptional) {
  if (property.enum) return { kind: "choice", options: property.enum.map(String) };
  if (property.const !== undefined) return { kind: "choice", options: [String(property.const)] };
  if (property.type === "boolean") return { kind: "switch" };
  if (property.type === "integer" || property.type === "number") return numberKind(property, isOptional);
  if (/(^|_)color$/.test(name)) return { kind: "color" };
  return { kind: "text" };
}

/**
 * @param {Property} property
 * @param {boolean} isOptional
 * @returns {Kind}
 */
function numberKind(property, isOptional) {
  const min = property.minimum ?? property.exclusiveMinimum;
  const max = property.maximum ?? property.exclusiveMaximum;
  const step = property.type === "integer" ? 1 : (max ?? 100) - (min ?? 0) <= 2 ? 0.05 : 0.5;
  const isRange = min !== undefined && max !== undefined && max - min <= MAX_SLIDER_RANGE && !isOptional;
  return { kind: isRange ? "range" : "number", min, max, step };
}

/** @param {unknown} value */
function textOf(value) {
  return value === undefined || value === null ? "" : String(value);
}
