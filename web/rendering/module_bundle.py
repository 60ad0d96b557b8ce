"""One script out of JavaScript modules that import each other, so that a page needs one request for all.

The sources stay what browsers, linters and tests read: modules without a build step. They are joined when the
server first needs the bundle. Each module becomes a function that returns its exports, called in the order of
the imports. That needs no JavaScript parser, because the sources use few forms of `import` and `export`, each
at the beginning of a line. Every other form raises `UnsupportedModule` instead of making a broken bundle.
"""

import re
from pathlib import Path

_NAME = r"[A-Za-z_$][\w$]*"
_IMPORT = re.compile(
    rf'^import (?:\* as (?P<namespace>{_NAME})|\{{(?P<names>[^}}]*)\}}) from "(?P<source>\.[^"]+)";$',
    re.MULTILINE,
)
_EXPORT = re.compile(rf"^export (?=(?:async )?(?:class|function\*?|const) (?P<name>{_NAME}))", re.MULTILINE)
_OTHER_FORM = re.compile(r"^(?:import|export)\b.*|\bimport(?:\(|\.meta).*|^await\b.*", re.MULTILINE)
_RENAMED = re.compile(rf"^({_NAME}) as ({_NAME})$")


class UnsupportedModule(Exception):
    """A module uses a form that the bundle does not support. The message names the file and the form."""


def bundle(entry: Path) -> str:
    """The source of one module with the exports of `entry`. Raises UnsupportedModule and OSError."""
    variables: dict[Path, str] = {}
    parts: list[str] = []
    exported = _add(entry.resolve(), variables, parts, importing=())
    names = ", ".join(exported)
    return "".join(parts) + f"export const {{ {names} }} = {variables[entry.resolve()]};\n"


def _add(path: Path, variables: dict[Path, str], parts: list[str], importing: tuple[Path, ...]) -> list[str]:
    """Add a module after those that it imports. Returns the names it exports.

    `variables` are the constants that hold the exports of the modules added so far.
    """
    if path in importing:
        cycle = " -> ".join(each.name for each in (*importing, path))
        raise UnsupportedModule(f"these modules import each other: {cycle}")
    source = path.read_text(encoding="utf-8")
    for imported in _IMPORT.finditer(source):
        target = (path.parent / imported["source"]).resolve()
        if target not in variables:
            _add(target, variables, parts, (*importing, path))
    exported = [match["name"] for match in _EXPORT.finditer(source)]
    body = _EXPORT.sub("", _IMPORT.sub(lambda match: _constant(match, path, variables), source))
    if unsupported := _OTHER_FORM.search(_without_line_comments(body)):
        raise UnsupportedModule(f"{path.name}: {unsupported[0]}")
    variables[path] = f"module{len(variables)}"
    returned = ", ".join(exported)
    parts.append(
        f"// {path.name}\nconst {variables[path]} = (() => {{\n{body}\nreturn {{ {returned} }};\n}})();\n"
    )
    return exported


def _constant(imported: re.Match[str], path: Path, variables: dict[Path, str]) -> str:
    """The declaration that replaces an import."""
    module = variables[(path.parent / imported["source"]).resolve()]
    if imported["namespace"]:
        return f"const {imported['namespace']} = {module};"
    names = [name.strip() for name in imported["names"].split(",") if name.strip()]
    renamed = ", ".join(_RENAMED.sub(r"\1: \2", name) for name in names)
    return f"const {{ {renamed} }} = {module};"


def _without_line_comments(source: str) -> str:
    return re.sub(r"^\s*(?://|/?\*).*$", "", source, flags=re.MULTILINE)
