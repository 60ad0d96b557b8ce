import assert from "node:assert/strict";
import { test } from "node:test";

import { LANGUAGES, snippet } from "../../web/static/editor/snippets.js";

const CALL = {
  origin: "http://127.0.0.1:8000",
  tool: "brush",
  imageId: "img_1",
  params: { op: "erase", strokes: '[{"points":[[1,2]]}]', format: "png" },
};

test("every language names the route, the picture and each parameter", () => {
  for (const language of LANGUAGES) {
    const text = snippet(language, CALL);
    assert.ok(text.includes("http://127.0.0.1:8000/api/tools/brush"), language);
    for (const part of ["img_1", "erase", "strokes", "points", "image/*", "result.png", "BGERASER_KEY"]) {
      assert.ok(text.includes(part), `${language} lacks ${part}`);
    }
  }
});

test("a key that was made is in the text", () => {
  for (const language of LANGUAGES) {
    const text = snippet(language, { ...CALL, key: "bge_live_x" });
    assert.ok(text.includes("bge_live_x"));
    assert.ok(!text.includes("BGERASER_KEY"));
  }
});

test("curl's arguments are quoted for a shell", () => {
  const text = snippet("curl", { ...CALL, params: { prompt: "it's $HOME; `ls`" } });
  assert.ok(text.includes(`--form-string 'prompt=it'\\''s $HOME; \`ls\`'`));
});

test("a background picture becomes a file of the caller", () => {
  const call = { ...CALL, tool: "bg-removal", params: { bg_image_id: "img_2", format: "png" } };
  for (const language of LANGUAGES) {
    const text = snippet(language, call);
    assert.ok(text.includes("background.jpg"), language);
    assert.ok(!text.includes("img_2"), language);
  }
});
