// Form controls made from a tool's parameters, as `schema.js` describes them.

import { checkbox, el, newId, segments, slider } from "./elements.js";
import { controlSpecs, toFields } from "./schema.js";
import { applies, percentOf, positionOf, sizeText, wordsOf } from "./words.js";

/** @import { ControlSpec } from "./schema.js" */
/** @import { Fields, Parameters } from "./types.js" */
/** @import { Words } from "./words.js" */

const MAX_SEGMENTS = 4; // longer choices get a <select>

/** The values of a tool's parameters, and controls for those that the tool's panel shows. */
export class Controls {
  /**
   * @param {Parameters} parameters
   * @param {(name: string) => void} onChange
   */
  constructor(parameters, onChange) {
    this.specs = controlSpecs(parameters);
    /** @type {Partial<Fields>} */
    this.values = {};
    this.onChange = onChange;
  }

  /**
   * A control for each of these parameters, in this order. Names that the tool does not have are skipped, because
   * a server may be configured without some of them.
   * @param {string[]} names
   */
  build(names) {
    return names.flatMap((name) => {
      const spec = this.#specOf(name);
      return spec ? [this.#field(spec)] : [];
    });
  }

  /**
   * A collapsed section with every other parameter, or null if there is none.
   * @param {string[]} hidden
   */
  advanced(hidden) {
    const rest = this.specs.filter((spec) => !hidden.includes(spec.name) && wordsOf(spec));
    if (!rest.length) return null;
    return el(
      "details",
      { class: "advanced" },
      el("summary", {}, "Advanced"),
      rest.map((spec) => this.#field(spec, true)),
    );
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  set(name, value) {
    this.values[name] = value;
    this.onChange(name);
  }

  /**
   * The parameter's value, its default, or "".
   * @param {string} name
   */
  get(name) {
    return this.values[name] ?? this.#specOf(name)?.initial ?? "";
  }

  /** The form fields of the values that differ from their defaults. */
  fields() {
    const fields = toFields(this.specs, this.values);
    const get = (/** @type {string} */ name) => this.get(name);
    return Object.fromEntries(Object.entries(fields).filter(([name]) => applies(name, get)));
  }

  /** @param {string} name */
  #specOf(name) {
    return this.specs.find((spec) => spec.name === name);
  }

  /**
   * @param {ControlSpec} spec
   * @param {boolean} showsHelp whether the help is written below the control; else it is a tooltip
   */
  #field(spec, showsHelp = false) {
    const words = wordsOf(spec) ?? { label: spec.label };
    const help = showsHelp && words.help ? el("small", { id: newId("help") }, words.help) : null;
    const field = this.#control(spec, words, help?.id ?? null);
    if (!showsHelp && words.help) field.title = words.help;
    if (help) field.append(help);
    return field;
  }

  /**
   * @param {ControlSpec} spec
   * @param {Words} words
   * @param {string | null} helpId
   * @returns {HTMLElement}
   */
  #control(spec, words, helpId) {
    const { name, options = [] } = spec;
    const { label } = words;
    const value = this.get(name);
    const set = (/** @type {string} */ next) => this.set(name, next);
    if (words.kind) return wordedControl(words, value, set, helpId);
    if (spec.kind === "range") {
      const { min = 0, max = 0, step } = spec;
      return slider({ label, min, max, step, value: value || 0, onChange: (next) => set(`${next}`) }).element;
    }
    if (spec.kind === "switch") {
      const field = checkbox(label, value === "true", (isChecked) => set(`${isChecked}`));
      if (helpId) field.querySelector("input")?.setAttribute("aria-describedby", helpId);
      return field;
    }
    if (spec.kind === "choice" && options.length <= MAX_SEGMENTS && !spec.isOptional) {
      const texts = Object.fromEntries(options.map((option) => [option, optionText(option, words)]));
      return el(
        "div",
        { class: "field" },
        el("span", { class: "label" }, label),
        segments(label, texts, value, set),
      );
    }
    const attributes = { id: newId("field"), "aria-describedby": helpId };
    const input =
      spec.kind === "choice"
        ? this.#select(spec, words, attributes, value, set)
        : this.#input(spec, attributes, value, set);
    return el("div", { class: "field" }, el("label", { for: attributes.id }, label), input);
  }

  /**
   * @param {ControlSpec} spec
   * @param {Words} words
   * @param {Record<string, unknown>} attributes
   * @param {string} value
   * @param {(value: string) => void} set
   */
  #select(spec, words, attributes, value, set) {
    const none = spec.isOptional ? el("option", { value: "" }, "—") : null;
    const options = (spec.options ?? []).map((option) =>
      el("option", { value: option }, optionText(option, words)),
    );
    const select = el("select", { ...attributes, onchange: () => set(select.value) }, none, options);
    select.value = value;
    return select;
  }

  /**
   * @param {ControlSpec} spec
   * @param {Record<string, unknown>} attributes
   * @param {string} value
   * @param {(value: string) => void} set
   */
  #input(spec, attributes, value, set) {
    const isNumber = spec.kind === "number";
    const input = el("input", {
      ...attributes,
      type: isNumber ? "number" : "text",
      inputmode: isNumber ? "decimal" : null,
      min: spec.min,
      max: spec.max,
      step: isNumber ? "any" : null,
      placeholder: spec.kind === "color" ? "#rrggbb" : spec.isOptional ? "automatic" : null,
      value,
      autocomplete: "off",
      spellcheck: "false",
      onchange: () => set(input.value.trim()),
    });
    return input;
  }
}

/** @type {Record<string, string>} */
const OPTION_TEXTS = {
  north: "Top",
  south: "Bottom",
  east: "Right",
  west: "Left",
  h: "Horizontal",
  v: "Vertical",
};

/**
 * @param {string} option
 * @param {Words} words
 */
function optionText(option, words) {
  return words.options?.[option] ?? OPTION_TEXTS[option] ?? option[0].toUpperCase() + option.slice(1);
}

/**
 * The control of a parameter whose text has a syntax of its own.
 * @param {Words} words
 * @param {string} value
 * @param {(value: string) => void} set
 * @param {string | null} helpId
 * @returns {HTMLElement}
 */
function wordedControl({ label, kind, min = 0, max = 100, shown }, value, set, helpId) {
  if (kind === "percent") {
    const percent = percentOf(value, Number(shown));
    const onChange = (/** @type {number} */ next) => set(`${next}%`);
    return slider({ label, min, max, step: 0.5, unit: " %", value: percent, onChange }).element;
  }
  if (kind === "position") {
    const place = positionOf(value);
    const axis = (/** @type {string} */ name, /** @type {0 | 1} */ at) =>
      slider({
        label: name,
        min: 0,
        max: 100,
        unit: " %",
        value: place[at],
        onChange: (next) => {
          place[at] = next;
          set(`${place[0]}% ${place[1]}%`);
        },
      }).element;
    return el("fieldset", {}, el("legend", {}, label), axis("From the left", 0), axis("From the top", 1));
  }
  if (kind === "size") return sizeFields(label, value, set, helpId);
  const id = newId("color");
  const input = el("input", { id, type: "color", value: value || shown, oninput: () => set(input.value) });
  return el("div", { class: "field inline" }, el("label", { for: id }, label), input);
}

/**
 * @param {string} label
 * @param {string} value
 * @param {(value: string) => void} set
 * @param {string | null} helpId
 */
function sizeFields(label, value, set, helpId) {
  const [width = "", height = ""] = value.split("x");
  const onchange = () => set(sizeText(across.value.trim(), down.value.trim()));
  const field = (/** @type {string} */ name, /** @type {string} */ initial) =>
    el("input", {
      type: "number",
      inputmode: "numeric",
      min: 1,
      step: 1,
      "aria-label": `${label}: ${name}`,
      "aria-describedby": helpId,
      placeholder: name,
      value: initial,
      onchange,
    });
  const across = field("width", width);
  const down = field("height", height);
  return el(
    "div",
    { class: "field" },
    el("span", { class: "label" }, label),
    el("div", { class: "size-fields" }, across, "×", down),
  );
}
