"""Which family a call belongs to, and the sizes that operators set."""

import pytest
from pydantic import ValidationError

from ml.backend import ToolCall
from ml.catalogue import TOOLS, UNLISTED_TOOLS
from ml.params import Params
from ml.runtime.cluster.families import DEFAULT_SIZES, FAMILIES, PROMPT, FamilySize, family_of


def test_every_tool_belongs_to_a_family_that_has_a_size() -> None:
    found = {name: family_of(ToolCall(name, Params(), {})) for name in (*TOOLS, *UNLISTED_TOOLS)}
    assert set(found.values()) <= set(DEFAULT_SIZES)
    assert found["bg-removal"] == "cutout"
    assert found["selection-overlay"] == found["magic-select"] == "select"
    assert found["crop"] == "edit"
    assert {tool for tools in FAMILIES.values() for tool in tools} <= {*TOOLS, *UNLISTED_TOOLS}


def test_calls_with_words_have_a_family_of_their_own() -> None:
    params = TOOLS["generative-fill"].params
    assert (
        family_of(ToolCall("generative-fill", params.model_validate({"prompt": "a red hat"}), {})) == PROMPT
    )
    assert family_of(ToolCall("generative-fill", params(), {})) == "erase"


@pytest.mark.parametrize(
    "values",
    [{"min_replicas": 3, "max_replicas": 2}, {"cpus": 0}, {"gpus": -1}, {"replicas": 2}, {"max_replicas": 0}],
)
def test_an_impossible_size_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        FamilySize.model_validate(values)


def test_a_replica_has_a_thread_for_each_processor_it_takes() -> None:
    assert [FamilySize(cpus=cpus).threads for cpus in (0.25, 1, 1.5, 4)] == [1, 1, 2, 4]
