// Controls made from a tool's parameters, as `schema.js` describes them.

import { el, newId, segments, slider } from "./elements.js";
import { controlsOf, toFields } from "./schema.js";

/** The values of a tool's parameters, with controls for those that are asked for. */
export class Controls {
  constructor(parameters, changed) {
    this.all = controlsOf(parameters);
    this.values = {};
    this.changed = changed;
  }

  /** A control for each of these parameters, in this order; names that the tool does not have are passed over. */
  build(names) {
    return names
      .map((name) => this.all.find((control) => control.name === name))
      .filter(Boolean)
      .map((control) => this.#field(control));
  }

  /** Everything else, folded away. */
  advanced(hidden) {
    const rest = this.all.filter((control) => !hidden.includes(control.name));
    if (!rest.length) return null;
    return el(
      "details",
      { class: "advanced" },
      el("summary", {}, "Advanced"),
      rest.map((control) => this.#field(control, true)),
    );
  }

  set(name, value) {
    this.values[name] = value;
    this.changed?.(name);
  }

  get(name) {
    const control = this.all.find((one) => one.name === name);
    return this.values[name] ?? control?.initial ?? "";
  }

  /** The form fields: what differs from the defaults. */
  fields() {
    return toFields(this.all, this.values);
  }

  #field(control, withHelp = false) {
    const help = withHelp && control.help ? el("small", { id: newId("help") }, control.help) : null;
    const field = this.#input(control, help?.id);
    if (!withHelp && control.help) field.title = control.help;
    if (help) field.append(help);
    return field;
  }

  #input(control, helpId) {
    const id = newId("field");
    const value = this.get(control.name);
    const set = (next) => this.set(control.name, next);
    const described = { id, "aria-describedby": helpId ?? null };
    if (control.kind === "range") {
      const { label, least, most, step } = control;
      return slider({ label, least, most, step, value: value || 0, change: (next) => set(`${next}`) });
    }
    if (control.kind === "switch") {
      const input = el("input", {
        ...described,
        type: "checkbox",
        checked: value === "true",
        onchange: () => set(`${input.checked}`),
      });
      return el("div", { class: "field switch" }, input, el("label", { for: id }, control.label));
    }
    if (control.kind === "choice" && control.options.length <= 4 && !control.isOptional) {
      const options = Object.fromEntries(control.options.map((option) => [option, worded(option)]));
      return el(
        "div",
        { class: "field" },
        el("span", { class: "label" }, control.label),
        segments(control.label, options, value, set),
      );
    }
    return el(
      "div",
      { class: "field" },
      el("label", { for: id }, control.label),
      this.#entry(control, described, value, set),
    );
  }

  #entry(control, described, value, set) {
    if (control.kind === "choice") {
      const none = control.isOptional ? [el("option", { value: "" }, "—")] : [];
      const options = control.options.map((option) => el("option", { value: option }, worded(option)));
      const choice = el("select", { ...described, onchange: () => set(choice.value) }, none, options);
      choice.value = value;
      return choice;
    }
    const isNumber = control.kind === "number";
    const input = el("input", {
      ...described,
      type: isNumber ? "number" : "text",
      inputmode: isNumber ? "decimal" : null,
      min: control.least ?? null,
      max: control.most ?? null,
      step: isNumber ? "any" : null,
      placeholder: control.kind === "color" ? "#rrggbb" : control.isOptional ? "automatic" : null,
      value,
      autocomplete: "off",
      spellcheck: "false",
      onchange: () => set(input.value.trim()),
    });
    return input;
  }
}

const COMPASS = { north: "Top", south: "Bottom", east: "Right", west: "Left" };

function worded(option) {
  if (option in COMPASS) return COMPASS[option];
  return option === "h"
    ? "Sideways"
    : option === "v"
      ? "Upside down"
      : option[0].toUpperCase() + option.slice(1);
}
