// Brand colors of accounts and guests.

import assert from "node:assert/strict";
import test from "node:test";

import { BrandColors } from "../../web/static/editor/brand_colors.js";
import { ACCOUNT, modelWith, ok, refused } from "./model_support.js";

test("a guest's colors stay in the browser's tab", async () => {
  const { model, requests, storage } = modelWith({}, { account: null });
  const colors = new BrandColors(model);
  await colors.add("#1F3A5F");
  await colors.add("#1f3a5f");
  assert.deepEqual(colors.all, ["#1f3a5f"]);
  assert.deepEqual(new BrandColors(model).all, ["#1f3a5f"]);
  assert.deepEqual(requests, []);
  assert.equal([...storage.values()].length, 1);
});

test("an account's colors are kept by the server, and a refusal changes nothing", async () => {
  const account = { ...ACCOUNT, brandColors: ["#ffffff"] };
  const answers = [ok({ colors: ["#ffffff", "#000000"] }), refused(422, "INVALID_PARAMETER")];
  const { model, requests } = modelWith({ "PUT /editor/brand-colors": answers }, { account });
  const colors = new BrandColors(model);
  await colors.add("#000000");
  assert.deepEqual(requests.at(-1).body, { colors: ["#ffffff", "#000000"] });
  await colors.remove("#ffffff");
  assert.deepEqual(colors.all, ["#ffffff", "#000000"]);
});
