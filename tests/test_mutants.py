"""The tests have teeth: each of five faults in the real code makes a test fail."""

import pytest

from tests.support import mutants
from tests.support.mutants import MUTANTS, Mutant

pytestmark = pytest.mark.timeout(3_600)
each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.split(":")[0])


@each_mutant
def test_the_test_that_should_notice_a_fault_does(mutant: Mutant) -> None:
    result = mutants.run(mutant, *mutants.quick_arguments(mutant))
    assert mutants.is_noticed(result), result.stdout + result.stderr


@pytest.mark.long
@each_mutant
def test_the_suite_notices_a_fault(mutant: Mutant) -> None:
    result = mutants.run(mutant, *mutants.SUITE)
    assert mutants.is_noticed(result), result.stdout + result.stderr


@pytest.mark.long
def test_the_suite_passes_on_a_copy_without_a_fault() -> None:
    """Else it would be the copy that the tests notice."""
    result = mutants.run(None, *mutants.SUITE)
    assert result.returncode == 0, result.stdout + result.stderr
