"""Marks each test by what it needs, and groups tests for pytest-xdist.

`make test-fast` runs the tests that none of these markers is set on.
"""

import ast
import functools
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

#: A marker and the fixture whose direct or indirect use sets it.
_FIXTURES = {"server": "server_factory", "chromium": "chromium", "postgres": "postgres", "ray": "ray_cluster"}
#: Fixtures with one variant for each database; the PostgreSQL server is requested inside them.
_DATABASE_FIXTURES = ("database_url", "migrated_database_url")
#: Modules that start the application, worker processes, commands or engines. Tests are `slow` if their
#: module, or that of a fixture they use, imports one of these or a name from it.
_SLOW_MODULES = frozenset(
    {
        "multiprocessing",
        "subprocess",
        "uvicorn",
        "tests.ml.truth.selections",
        *(
            f"tests.support.{name}"
            for name in (
                "apps",
                "browsing",
                "checkpoints",
                "gradio_site",
                "load",
                "mutants",
                "shop",
                "ml.backends",
                "ml.cutouts",
                "ml.decoder_process",
                "ml.fill_figures",
                "ml.ncnn_reference",
                "ml.tiny_erasers",
                "ml.tiny_pipelines",
                "ml.tiny_sam",
            )
        ),
    }
)
#: Longer values are files.
_NAMING_BYTES_MAX = 40


#: The expression of `make test-fast`.
_WITHOUT_SLOW = re.compile(r"not \(.*\bslow\b.*\)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without slow tests, do not import the modules that have no others: torch alone takes seconds."""
    if collection_path.suffix != ".py" or not _WITHOUT_SLOW.fullmatch(config.option.markexpr):
        return None
    is_test = collection_path.name.startswith("test_")
    return True if is_test and _imported_in(collection_path) & _SLOW_MODULES else None


def _imported_in(path: Path) -> set[str]:
    """The modules that a file imports, or names from, at its top level."""
    imported: set[str] = set()
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            imported.add(node.module)
            imported.update(f"{node.module}.{alias.name}" for alias in node.names)
    return imported


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in this hook too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set each test's markers, and let a file's tests share one process for its fixtures of module scope."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        for marker, fixture in _FIXTURES.items():
            if fixture in fixtures:
                item.add_marker(marker)
        if any(_parameters(item).get(name) == "postgresql" for name in _DATABASE_FIXTURES):
            item.add_marker("postgres")
        if any(_imports_slow_module(module) for module in _modules_of(item)):
            item.add_marker("slow")
        # One process for all that use a cluster: it needs a gigabyte.
        group = "ray" if item.get_closest_marker("ray") else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Number files instead of naming tests by them: some contain a time, and all processes must agree."""
    return argname if isinstance(val, bytes) and len(val) > _NAMING_BYTES_MAX else None


def _parameters(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec is not None else {}


def _modules_of(item: pytest.Item) -> set[ModuleType]:
    """The test's module and those of its fixtures, apart from the fixtures that every test may use."""
    assert isinstance(item, pytest.Function)
    names = {item.module.__name__}
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        names |= {definition.func.__module__ for definition in definitions}
    return {sys.modules[name] for name in names if name.startswith("tests.") and ".support." not in name}


@functools.cache
def _imports_slow_module(module: ModuleType) -> bool:
    return any(
        (value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None))
        in _SLOW_MODULES
        for value in vars(module).values()
    )
