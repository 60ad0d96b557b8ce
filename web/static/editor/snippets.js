// The tool's current settings as a shell command or a program. Running it gives the same bytes as the button.

/** @import { Fields } from "./types.js" */

/** @typedef {"curl" | "Node" | "Python"} Language */

/** @type {Language[]} */
export const LANGUAGES = ["curl", "Node", "Python"];
const KEY_VARIABLE = "$BGERASER_KEY";

/**
 * @typedef {object} Call
 * @property {string} origin of the server
 * @property {string} tool
 * @property {Fields} params
 * @property {string} imageId
 * @property {string | null} [key] without one, the snippet reads the environment variable BGERASER_KEY
 */

/** @typedef {Call & { fields: Fields, files: Fields, result: string }} Rendered */

/**
 * The snippet for one call. The editor's `bg_image_id` becomes a file, because the API takes one.
 * @param {Language} language
 * @param {Call} call
 */
export function snippet(language, call) {
  /** @type {Fields} */
  const fields = { image_id: call.imageId, ...call.params };
  /** @type {Fields} */
  const files = {};
  if (fields.bg_image_id) {
    delete fields.bg_image_id;
    files.bg_image = "background.jpg";
  }
  const rendered = { ...call, fields, files, result: `result.${call.params.format ?? "png"}` };
  return { curl, Node: node, Python: python }[language](rendered);
}

/** @param {Rendered} call */
function curl(call) {
  const key = call.key ?? KEY_VARIABLE;
  const lines = [
    `curl -X POST ${call.origin}/api/tools/${call.tool}`,
    `  -H "Authorization: Bearer ${key}"`,
    `  -H "Accept: image/*"`,
    // -F reads a value that begins with @ or < from a file; --form-string sends every value literally.
    ...Object.entries(call.fields).map(([name, value]) => `  --form-string ${quoted(`${name}=${value}`)}`),
    ...Object.entries(call.files).map(([name, file]) => `  -F ${name}=@${file}`),
    `  -o ${call.result}`,
  ];
  return lines.join(" \\\n");
}

/** @param {Rendered} call */
function node(call) {
  const key = call.key ? JSON.stringify(call.key) : "process.env.BGERASER_KEY";
  const appends = Object.entries(call.files).map(
    ([name, file]) => `form.append("${name}", new Blob([await readFile("${file}")]), "${file}");`,
  );
  return [
    `import { ${appends.length ? "readFile, " : ""}writeFile } from "node:fs/promises";`,
    "",
    "const form = new FormData();",
    ...Object.entries(call.fields).map(
      ([name, value]) => `form.append("${name}", ${JSON.stringify(value)});`,
    ),
    ...appends,
    `const response = await fetch("${call.origin}/api/tools/${call.tool}", {`,
    `  method: "POST",`,
    `  headers: { Authorization: "Bearer " + ${key}, Accept: "image/*" },`,
    `  body: form,`,
    `});`,
    `if (!response.ok) throw new Error(await response.text());`,
    `await writeFile("${call.result}", Buffer.from(await response.arrayBuffer()));`,
  ].join("\n");
}

/** @param {Rendered} call */
function python(call) {
  const key = call.key ? JSON.stringify(call.key) : `os.environ["BGERASER_KEY"]`;
  const files = Object.entries(call.files).map(([name, file]) => `"${name}": open("${file}", "rb")`);
  return [
    ...(call.key ? [] : ["import os", ""]),
    "import httpx",
    "",
    "response = httpx.post(",
    `    "${call.origin}/api/tools/${call.tool}",`,
    `    headers={"Authorization": "Bearer " + ${key}, "Accept": "image/*"},`,
    "    data={",
    ...Object.entries(call.fields).map(([name, value]) => `        "${name}": ${JSON.stringify(value)},`),
    "    },",
    ...(files.length ? [`    files={${files.join(", ")}},`] : []),
    "    timeout=300,",
    ")",
    "response.raise_for_status()",
    `open("${call.result}", "wb").write(response.content)`,
  ].join("\n");
}

/**
 * In single quotes for a POSIX shell.
 * @param {string} text
 */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
