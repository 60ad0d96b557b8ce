"""Every module has tests under its name or an entry that says where, which `make check` also verifies."""

from pathlib import Path

from tests.support import module_tests


def test_every_module_has_tests_that_are_found() -> None:
    assert list(module_tests.problems()) == []


def test_a_module_without_tests_and_stale_entries_are_reported(tmp_path: Path) -> None:
    for name in ("api/calls/untested.py", "api/calls/tested.py", "api/services.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "tests/api/calls").mkdir(parents=True)
    (tmp_path / "tests/api/calls/test_tested_load.py").touch()
    problems = list(module_tests.problems(tmp_path))
    assert problems[0] == "api/calls/untested.py has no tests under its name in tests/api/calls"
    assert not any(problem.startswith(("api/calls/tested", "api/services")) for problem in problems)
    assert "web/app.py does not need its entry in module_tests.py" in problems
    assert "tests/web/site/test_routes.py, which tests web/site/*.py, does not exist" in problems
