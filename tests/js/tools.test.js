// The editor calls only the hooks of the base class, so a method that a tool misspells would never be called.

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";

import { Tool } from "../../web/static/editor/tools/tool.js";

const FOLDER = new URL("../../web/static/editor/tools/", import.meta.url);
/** Public members that a tool adds for its own parts; everything else must override a hook. */
const OWN_MEMBERS = {
  GenerativeExpand: ["frame"],
  Crop: ["frame"],
  BgRemoval: ["cutout", "lookFields", "movableFrame", "storeBackground", "useBackground"],
};

const membersOf = (prototype) =>
  Object.getOwnPropertyNames(prototype).filter((name) => name !== "constructor");

test("every public member of a tool overrides a hook of the base class", async () => {
  const hooks = new Set(membersOf(Tool.prototype));
  const seen = [];
  for (const file of await readdir(FOLDER)) {
    for (const [name, exported] of Object.entries(await import(new URL(file, FOLDER)))) {
      if (!(exported?.prototype instanceof Tool)) continue;
      seen.push(name);
      const own = OWN_MEMBERS[name] ?? [];
      const unknown = membersOf(exported.prototype).filter((one) => !hooks.has(one) && !own.includes(one));
      assert.deepEqual(unknown, [], name);
    }
  }
  assert.equal(seen.length, 7);
});
