// Errors of the API in words for people. Codes and names of parameters are for programs.

import { labelOf } from "./schema.js";
import { labelOfSetting } from "./words.js";

/** @import { ApiError } from "./api.js" */

/** Instead of "You have no credits left." in somebody else's account. */
export const ASK_OWNER = "This account has no credits left. Ask its owner for more.";

/**
 * Texts for the codes whose own message is written for programmers.
 * @type {Record<string, string>}
 */
const TEXTS = {
  INSUFFICIENT_CREDITS: "You have no credits left.",
  UNREADABLE_IMAGE: "This file cannot be read as a picture. It may be damaged.",
  UNSUPPORTED_FORMAT:
    "This type of file cannot be opened. Use JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF.",
  MISSING_IMAGE: "This file is empty. Choose another one.",
  OVERLOADED: "The server is busy. Nothing was charged; please try again shortly.",
  PROCESSING_FAILED: "Processing failed. Nothing was charged; please try again.",
  MODEL_UNAVAILABLE: "This is not installed on this server. Nothing was charged.",
  INTERNAL_ERROR: "Something went wrong on the server. Nothing was charged.",
  INVALID_REQUEST: "The server did not understand the editor. Reload the page and try again.",
  METHOD_NOT_ALLOWED: "The server did not understand the editor. Reload the page and try again.",
  IDEMPOTENCY_IN_PROGRESS: "This is running already. Its result will appear here.",
  IDEMPOTENCY_MISMATCH: "This could not be applied. Nothing was charged; please try again.",
};

/**
 * Parameters that are not settings but something that the user did.
 * @type {Record<string, string>}
 */
const THINGS = {
  image: "The picture",
  bg_image: "The background picture",
  bg_image_id: "The background picture",
  strokes: "What you marked",
  points: "What you marked",
  box: "What you marked",
  mask: "What you marked",
  mask_id: "What you marked",
  project: "This picture",
  stepId: "This step",
};

/**
 * @param {Partial<ApiError>} error an API error, or any other that was thrown
 * @returns {string} sentences, without the error's code
 */
export function errorText({ code = "", message = "", param = null }) {
  const text = TEXTS[code] ?? (param ? withLabel(message, param) : message);
  return text ? sentence(text) : "Something went wrong.";
}

/**
 * A message about a parameter, which begins with its name, with the words that the editor has for it.
 * @param {string} message
 * @param {string} param
 */
function withLabel(message, param) {
  const label = THINGS[param] ?? labelOfSetting(param) ?? labelOf(param);
  const rest = message.startsWith(param) ? message.slice(param.length) : null;
  if (rest === null || /^\w/.test(rest)) return message;
  return `${label}${rest}`.replace(/\b[a-z]+(?:_[a-z]+)+\b/g, (name) => labelOf(name).toLowerCase());
}

/** @param {string} text */
function sentence(text) {
  const begun = text[0].toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
