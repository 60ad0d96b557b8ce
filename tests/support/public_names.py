"""Lists names that two public classes of the product share.

    python -m tests.support.public_names

A reader who searches for a class must find one. `make check` runs this and fails if it prints anything.
Classes inside functions and classes whose name begins with an underscore are private to their file and may
repeat.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "billing", "ml", "web")


def duplicates(root: Path = ROOT) -> dict[str, list[str]]:
    """For each shared name, where it is defined, as `path:line`."""
    places: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for node in _public_classes(ast.parse(path.read_text())):
                places[node.name].append(f"{path.relative_to(root)}:{node.lineno}")
    return {name: where for name, where in sorted(places.items()) if len(where) > 1}


def _public_classes(node: ast.AST) -> Iterator[ast.ClassDef]:
    """Of a module and of the classes, conditions and blocks in it, but not of its functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and child.name.startswith("_"):
            continue
        if isinstance(child, ast.ClassDef):
            yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _public_classes(child)


def main() -> int:
    found = duplicates()
    for name, where in found.items():
        sys.stdout.write(f"{name} is defined {len(where)} times: {', '.join(where)}\n")
    return len(found)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
