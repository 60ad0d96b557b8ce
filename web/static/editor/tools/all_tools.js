// The tools that the editor has a panel for.

import { BgRemoval } from "./bg_removal.js";
import { Brush } from "./brush.js";
import { Crop } from "./crop.js";
import { GenerativeExpand } from "./generative_expand.js";
import { GenerativeFill } from "./generative_fill.js";
import { MagicSelect } from "./magic_select.js";
import { Upscale } from "./upscale.js";

/** @import { Editor } from "../editor.js" */
/** @import { Tool } from "./tool.js" */

/**
 * Makes each by the server's name of it.
 * @type {Record<string, (editor: Editor) => Tool>}
 */
export const TOOLS = {
  "bg-removal": (editor) => new BgRemoval(editor),
  upscale: (editor) => new Upscale(editor),
  "generative-fill": (editor) => new GenerativeFill(editor),
  "generative-expand": (editor) => new GenerativeExpand(editor),
  "magic-select": (editor) => new MagicSelect(editor),
  crop: (editor) => new Crop(editor),
  brush: (editor) => new Brush(editor),
};
