// Building blocks of the page.

/** @typedef {Node | string | null | undefined | false} Child anything falsy is left out */

/** @type {Record<string, "value" | "checked" | "disabled" | "hidden">} */
const PROPERTIES = { value: "value", checked: "checked", disabled: "disabled", hidden: "hidden" };

/**
 * Creates an element: el("button", {class: "quiet", onclick: …, "aria-label": "…"}, "text", child, …).
 * Attributes that are null, undefined or false are left out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in PROPERTIES) Object.assign(element, { [PROPERTIES[name]]: value });
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children.flat()));
  return element;
}

/**
 * The children that are not left out.
 * @param {Child[]} children
 */
export function present(children) {
  return children.filter((child) => child !== null && child !== undefined && child !== false);
}

let idCount = 0;
/**
 * An id that no other element of the page has.
 * @param {string} prefix
 */
export function newId(prefix) {
  idCount += 1;
  return `${prefix}-${idCount}`;
}

/**
 * A button with an icon. Its name is read out by screen readers and shown as a tooltip.
 * @param {string} name
 * @param {string} iconName
 * @param {() => void} onclick
 * @param {{ shortcut?: string } & Record<string, unknown>} [attributes]
 */
export function iconButton(name, iconName, onclick, { shortcut = "", ...attributes } = {}) {
  const title = shortcut ? `${name} (${shortcut})` : name;
  return el(
    "button",
    { type: "button", class: "icon", "aria-label": name, title, onclick, ...attributes },
    icon(iconName),
  );
}

/**
 * A row of buttons of which one is pressed.
 * @template {string} Value
 * @param {string} label
 * @param {Partial<Record<Value, string>>} options the text of each value
 * @param {Value | ""} chosen
 * @param {(value: Value) => void} onChoose
 */
export function segments(label, options, chosen, onChoose) {
  /** @type {HTMLButtonElement[]} */
  const buttons = /** @type {[Value, string][]} */ (Object.entries(options)).map(([value, text]) =>
    el(
      "button",
      {
        type: "button",
        "aria-pressed": `${value === chosen}`,
        "data-value": value,
        onclick: () => {
          for (const button of buttons) setPressed(button, button.dataset.value === value);
          onChoose(value);
        },
      },
      text,
    ),
  );
  return el("div", { class: "segments", role: "group", "aria-label": label }, buttons);
}

/**
 * @param {Element} button
 * @param {boolean} isPressed
 */
export function setPressed(button, isPressed) {
  button.setAttribute("aria-pressed", `${isPressed}`);
}

/**
 * A checkbox with its label.
 * @param {string} label
 * @param {boolean} isChecked
 * @param {(isChecked: boolean) => void} onChange
 * @param {Record<string, unknown>} [attributes] of the whole field
 */
export function checkbox(label, isChecked, onChange, attributes = {}) {
  const id = newId("checkbox");
  const input = el("input", {
    id,
    type: "checkbox",
    checked: isChecked,
    onchange: () => onChange(input.checked),
  });
  return el("div", { class: "field switch", ...attributes }, input, el("label", { for: id }, label));
}

/**
 * A slider with its number. A value outside `min` and `max`, as an earlier edit may have made, widens it.
 * @param {object} options
 * @param {string} options.label
 * @param {number} options.min
 * @param {number} options.max
 * @param {number} [options.step]
 * @param {number | string} options.value
 * @param {string} [options.unit] shown after the number
 * @param {(value: number) => void} options.onChange called with every value
 */
export function slider({ label, min, max, step = 1, value, unit = "", onChange }) {
  const id = newId("slider");
  const text = (/** @type {number | string} */ number) => `${Math.round(Number(number) * 10) / 10}${unit}`;
  const output = el("output", { for: id }, text(value));
  const show = () => (output.textContent = text(input.value));
  const input = el("input", {
    id,
    type: "range",
    min: Number(value) < min ? Math.floor(Number(value)) : min,
    max: Number(value) > max ? Math.ceil(Number(value)) : max,
    step,
    value,
    oninput: () => {
      show();
      onChange(Number(input.value));
    },
  });
  const element = el("div", { class: "field slider" }, el("label", { for: id }, label), output, input);
  /** @param {number} next */
  const set = (next) => {
    if (next < Number(input.min)) input.min = `${Math.floor(next)}`;
    if (next > Number(input.max)) input.max = `${Math.ceil(next)}`;
    input.value = `${next}`;
    show();
  };
  return { element, set };
}

/** @type {Record<string, string>} */
const ICONS = {
  "bg-removal":
    "M12 3a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM4 21c.6-4.400 3.800-7 8-7s7.400 2.600 8 7M3 7V4a1 1 0 0 1 1-1h3M21 7V4a1 1 0 0 0-1-1h-3",
  upscale: "M4 20V13h7v7zM13 4h7v7M20 4l-8 8M4 9V5a1 1 0 0 1 1-1h4M20 15v4a1 1 0 0 1-1 1h-4",
  "generative-fill":
    "M12 3l1.800 5.200L19 10l-5.200 1.800L12 17l-1.800-5.200L5 10l5.200-1.800zM19 16l.8 2.200L22 19l-2.200.8L19 22l-.8-2.200L16 19l2.200-.8z",
  "generative-expand": "M9 9h6v6H9zM3 8V3h5M16 3h5v5M21 16v5h-5M8 21H3v-5",
  "magic-select": "M4 4l7 17 2.500-7.500L21 11zM4 9V6M9 4H6",
  crop: "M6 2v16h16M2 6h16v16",
  brush: "M14 4l6 6-8.500 8.500a3 3 0 0 1-2 .9L5 20l.6-4.500a3 3 0 0 1 .9-2zM12 6l6 6",
  open: "M12 16V4M7 9l5-5 5 5M4 16v3a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-3",
  undo: "M9 14L4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
  redo: "M15 14l5-5-5-5M20 9H10a6 6 0 0 0 0 12h3",
  restart: "M4 4v6h6M4.500 14a8 8 0 1 0 1.500-7.500L4 10",
  compare: "M12 3v18M5 5h5v14H5zM14 5h5v14h-5",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  zoomIn: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l5 5M11 8v6M8 11h6",
  zoomOut: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l5 5M8 11h6",
  download: "M12 4v12M7 11l5 5 5-5M4 20h16",
  code: "M8 7l-5 5 5 5M16 7l5 5-5 5",
  help: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM9.500 9.500a2.500 2.500 0 1 1 3.600 2.200c-.8.5-1.100.9-1.100 1.800M12 17v.1",
  close: "M6 6l12 12M18 6L6 18",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v6M14 11v6",
  camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 10a3.500 3.500 0 1 1 0 7 3.500 3.500 0 0 1 0-7z",
  paste: "M9 4h6v3H9zM9 5H6v15h12V5h-3",
  chevron: "M6 9l6 6 6-6",
  turnLeft: "M4 4v5h5M5 9a8 8 0 1 1-1 6",
  turnRight: "M20 4v5h-5M19 9a8 8 0 1 0 1 6",
  flipH: "M12 3v18M9 7L3 17h6zM15 7l6 10h-6z",
  flipV: "M3 12h18M7 9L17 3v6zM7 15l10 6v-6z",
  batch: "M8 4h11a1 1 0 0 1 1 1v11M4 8h11a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1z",
  folder: "M3 6a1 1 0 0 1 1-1h5l2 2h9a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1z",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
};

/**
 * An icon in the colour of the surrounding text.
 * @param {string} name
 */
export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(namespace, "path");
  path.setAttribute("d", ICONS[name] ?? "");
  svg.append(path);
  return svg;
}

/**
 * Builds the content of an element again. The focus stays on the control that had it, or goes to `fallback` if that is
 * gone or disabled: a keyboard's user would have to start at the top of the page.
 * @param {HTMLElement} container
 * @param {() => void} build
 * @param {HTMLElement} [fallback]
 */
export function keepFocus(container, build, fallback) {
  const focused = document.activeElement;
  const had = focused instanceof HTMLElement && container.contains(focused) ? controlName(focused) : null;
  build();
  if (had === null || container.contains(focused)) return;
  const controls = [...container.querySelectorAll("a, button, input, select, textarea, summary")];
  const same = controls.find((one) => one instanceof HTMLElement && controlName(one) === had);
  if (same instanceof HTMLElement) same.focus();
  if (!container.contains(document.activeElement)) fallback?.focus();
}

/**
 * What tells a control from the others: its text or label, and the group that it is in.
 * @param {HTMLElement} control
 */
function controlName(control) {
  const label = control instanceof HTMLInputElement ? control.labels?.[0]?.textContent : control.textContent;
  const group = control.parentElement?.closest("[role=group]")?.getAttribute("aria-label");
  return [control.tagName, control.getAttribute("aria-label") ?? label, group].join("/");
}
