// Lint rules for the browser's modules and their tests.

import js from "@eslint/js";
import globals from "globals";

const rules = {
  ...js.configs.recommended.rules,
  eqeqeq: "error",
  "no-console": "error",
  "no-eval": "error",
  "no-implied-eval": "error",
  "no-shadow": "error",
  "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
  "no-var": "error",
  "object-shorthand": "error",
  "prefer-const": "error",
  "max-lines": ["error", { max: 420, skipBlankLines: true, skipComments: true }],
  "no-restricted-syntax": [
    "error",
    {
      selector: "CallExpression[optional=true]",
      message: "Declare the method with a default: an optional call hides a misspelt name.",
    },
  ],
  // Text from users' files and from the server becomes text nodes, never markup.
  "no-restricted-properties": [
    "error",
    { property: "innerHTML" },
    { property: "outerHTML" },
    { property: "insertAdjacentHTML" },
  ],
};

export default [
  { files: ["web/static/**/*.js"], languageOptions: { globals: globals.browser }, rules },
  { files: ["tests/js/**/*.js"], languageOptions: { globals: globals.node }, rules },
];
