import assert from "node:assert/strict";
import { test } from "node:test";

import { packButtons, packText } from "../../web/static/editor/packs.js";

test("a pack is named by its credits and its price", () => {
  assert.equal(packText({ credits: 100, price: "$5.00" }), "Buy 100 credits, $5.00");
  assert.equal(packText({ credits: 1, price: "9 JPY" }), "Buy 1 credit, 9 JPY");
});

test("without packs on sale there are no buttons", () => {
  const place = { pathname: "/app/", search: "", hash: "" };
  assert.equal(packButtons({ packs: [], csrfToken: "t" }, place), null);
});
