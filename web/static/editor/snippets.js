// The present settings as a command or a program: running it gives the same bytes as the button.

export const LANGUAGES = ["curl", "Node", "Python"];
export const KEY_PLACE = "$BGERASER_KEY";

/**
 * The text for one call: {origin, tool, params, imageId, key}. Without a key the text reads it from the
 * environment variable BGERASER_KEY. A parameter `bg_image_id` is a file of the caller's in the API.
 */
export function snippet(language, call) {
  const fields = { image_id: call.imageId, ...call.params };
  const files = {};
  if (fields.bg_image_id) {
    delete fields.bg_image_id;
    files.bg_image = "background.jpg";
  }
  const wanted = { ...call, fields, files, result: `result.${call.params.format ?? "png"}` };
  return { curl, Node: node, Python: python }[language](wanted);
}

function curl(call) {
  const key = call.key ?? KEY_PLACE;
  const lines = [
    `curl -X POST ${call.origin}/api/tools/${call.tool}`,
    `  -H "Authorization: Bearer ${key}"`,
    `  -H "Accept: image/*"`,
    // -F reads a value that begins with @ or < from a file; --form-string takes every text as it is.
    ...Object.entries(call.fields).map(([name, value]) => `  --form-string ${quoted(`${name}=${value}`)}`),
    ...Object.entries(call.files).map(([name, file]) => `  -F ${name}=@${file}`),
    `  -o ${call.result}`,
  ];
  return lines.join(" \\\n");
}

function node(call) {
  const key = call.key ? JSON.stringify(call.key) : "process.env.BGERASER_KEY";
  const reads = Object.entries(call.files).map(
    ([name, file]) => `form.append("${name}", await openAsBlob("${file}"));`,
  );
  return [
    `import { writeFile } from "node:fs/promises";`,
    ...(reads.length ? [`import { openAsBlob } from "node:fs";`] : []),
    "",
    "const form = new FormData();",
    ...Object.entries(call.fields).map(
      ([name, value]) => `form.append("${name}", ${JSON.stringify(value)});`,
    ),
    ...reads,
    `const answer = await fetch("${call.origin}/api/tools/${call.tool}", {`,
    `  method: "POST",`,
    `  headers: { Authorization: "Bearer " + ${key}, Accept: "image/*" },`,
    `  body: form,`,
    `});`,
    `if (!answer.ok) throw new Error(await answer.text());`,
    `await writeFile("${call.result}", Buffer.from(await answer.arrayBuffer()));`,
  ].join("\n");
}

function python(call) {
  const key = call.key ? JSON.stringify(call.key) : `os.environ["BGERASER_KEY"]`;
  const files = Object.entries(call.files).map(([name, file]) => `"${name}": open("${file}", "rb")`);
  return [
    ...(call.key ? [] : ["import os", ""]),
    "import httpx",
    "",
    "answer = httpx.post(",
    `    "${call.origin}/api/tools/${call.tool}",`,
    `    headers={"Authorization": "Bearer " + ${key}, "Accept": "image/*"},`,
    "    data={",
    ...Object.entries(call.fields).map(([name, value]) => `        "${name}": ${JSON.stringify(value)},`),
    "    },",
    ...(files.length ? [`    files={${files.join(", ")}},`] : []),
    "    timeout=300,",
    ")",
    "answer.raise_for_status()",
    `open("${call.result}", "wb").write(answer.content)`,
  ].join("\n");
}

/** In single quotes for a POSIX shell. */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
