// From a tool's JSON Schema to descriptions of controls, and from controls' values to form fields.

const WORDS = { bg: "background", roi: "region" };

/** "bg_color" as a person reads it: "Background color". */
export function labelOf(name) {
  const words = name.split("_").map((word) => WORDS[word] ?? word);
  const text = words.join(" ");
  return text[0].toUpperCase() + text.slice(1);
}

/**
 * The controls of a tool's parameters, in their order:
 * {name, label, help, kind, options?, least?, most?, step?, initial, isRequired}.
 * kind is choice, switch, range, number, color or text.
 */
export function controlsOf(parameters) {
  const required = new Set(parameters.required ?? []);
  return Object.entries(parameters.properties).map(([name, property]) => {
    const known = facts(property);
    return {
      name,
      label: labelOf(name),
      help: property.description ?? "",
      initial: initialText(property.default),
      isRequired: required.has(name),
      isOptional: known.isOptional,
      ...kindOf(name, known),
    };
  });
}

/** The form fields of these values (texts by name): what is empty or as it is anyway is left out. */
export function toFields(controls, values) {
  const fields = {};
  for (const control of controls) {
    const value = values[control.name];
    if (value === undefined || value === "" || value === control.initial) continue;
    fields[control.name] = value;
  }
  return fields;
}

function facts(property) {
  const parts = property.anyOf ?? [property];
  const main = parts.find((part) => part.type !== "null") ?? property;
  return { ...main, isOptional: parts.some((part) => part.type === "null") };
}

function kindOf(name, known) {
  if (known.enum) return { kind: "choice", options: known.enum.map(String) };
  if (known.const !== undefined) return { kind: "choice", options: [String(known.const)] };
  if (known.type === "boolean") return { kind: "switch" };
  if (known.type === "integer" || known.type === "number") return numberKind(known);
  if (/(^|_)color$/.test(name)) return { kind: "color" };
  return { kind: "text" };
}

function numberKind(known) {
  const least = known.minimum ?? known.exclusiveMinimum;
  const most = known.maximum ?? known.exclusiveMaximum;
  const step = known.type === "integer" ? 1 : (most ?? 100) - (least ?? 0) <= 2 ? 0.05 : 0.5;
  const isRange = least !== undefined && most !== undefined && most - least <= 400 && !known.isOptional;
  return { kind: isRange ? "range" : "number", least, most, step };
}

function initialText(value) {
  return value === undefined || value === null ? "" : String(value);
}
