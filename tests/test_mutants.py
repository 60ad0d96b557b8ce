"""The suite detects faults injected into the real code."""

import ast

import pytest

from tests.support import mutants
from tests.support.mutants import MUTANTS, Edit, Mutant, Verdict

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)


@pytest.mark.timeout(600)
@each_mutant
def test_the_marked_test_detects_its_fault(mutant: Mutant) -> None:
    result = mutants.run(mutant, *mutants.arguments_for_marked_tests(mutant))
    assert result.verdict is Verdict.NOTICED, result.details


@pytest.mark.long
@pytest.mark.timeout(3_600)
@each_mutant
def test_the_suite_detects_a_fault(mutant: Mutant) -> None:
    result = mutants.run(mutant, *mutants.SUITE, "--maxfail=10")
    assert result.verdict is Verdict.NOTICED, result.details


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_the_suite_passes_on_a_copy_without_a_fault() -> None:
    """Otherwise the tests would fail because of the copy."""
    result = mutants.run(None, *mutants.SUITE)
    assert result.verdict is Verdict.MISSED, result.details


def test_an_edit_that_matches_nothing_is_an_error() -> None:
    def matches_nothing(_: ast.AST) -> None:
        return None

    with pytest.raises(ValueError, match="matches nothing in billing/ledger"):
        mutants.apply(Edit("billing/ledger", matches_nothing), mutants.ROOT)


CASE = '<testsuites><testsuite><testcase classname="t" name="n">{}</testcase></testsuite></testsuites>'


@pytest.mark.parametrize(
    ("return_code", "outcome", "verdict"),
    [
        (0, "", Verdict.MISSED),
        (1, '<failure message="assert 2 == 1" />', Verdict.NOTICED),
        (1, '<failure message="AssertionError: charged twice" />', Verdict.NOTICED),
        (1, '<failure message="Failed: DID NOT RAISE HoldSettled" />', Verdict.NOTICED),
        (1, '<failure message="Failed: Timeout (&gt;300.0s) from pytest-timeout." />', Verdict.BROKEN),
        (1, '<failure message="NameError: name &apos;x&apos; is not defined" />', Verdict.BROKEN),
        (1, '<error message="failed on setup" />', Verdict.BROKEN),
        (5, "", Verdict.BROKEN),  # no test is marked
    ],
)
def test_only_a_failed_assertion_counts_as_detection(
    return_code: int, outcome: str, verdict: Verdict
) -> None:
    assert mutants.judge(return_code, CASE.format(outcome))[0] is verdict


def test_a_run_without_a_report_is_broken() -> None:
    assert mutants.judge(4, "")[0] is Verdict.BROKEN
