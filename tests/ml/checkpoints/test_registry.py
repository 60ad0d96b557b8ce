"""The table of checkpoints is consistent, and look-ups verify the bytes."""

import os
import pickle
import re
import shutil
from pathlib import Path

import pytest

from ml.checkpoints import registry
from ml.checkpoints.registry import CHECKPOINTS, Checkpoint, Profile, State
from ml.checkpoints.types import UrlSource
from ml.errors import ModelUnavailable
from tests.support.checkpoints import models_dir

every_checkpoint = pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=lambda one: one.name)
EMBEDDED = [one for one in CHECKPOINTS.values() if one.profile is Profile.EMBEDDED]


@every_checkpoint
def test_every_file_is_pinned_and_has_no_subdirectory(checkpoint: Checkpoint) -> None:
    assert checkpoint.files
    for file in checkpoint.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size_bytes > 0
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file.file_name)


@every_checkpoint
def test_every_source_has_all_files_of_its_checkpoint(checkpoint: Checkpoint) -> None:
    assert checkpoint.sources
    for source in checkpoint.sources:
        names = [member.file_name for member in source.members]
        assert len(names) == len(set(names))
        assert {file.file_name for file in checkpoint.files} <= set(names)


@every_checkpoint
def test_every_checkpoint_states_both_licences_and_its_origin(checkpoint: Checkpoint) -> None:
    assert checkpoint.weights_licence
    assert checkpoint.carrier_licence
    assert checkpoint.origin
    assert checkpoint.commercial or checkpoint.profile is not Profile.EMBEDDED, "no default without its terms"


def test_no_two_checkpoints_share_a_file_or_a_hash() -> None:
    files = [file for checkpoint in CHECKPOINTS.values() for file in checkpoint.files]
    assert len({file.file_name for file in files}) == len(files)
    assert len({file.sha256 for file in files}) == len(files)
    assert not {file.file_name for file in files} & set(CHECKPOINTS), "path() takes either"


@pytest.mark.parametrize("checkpoint", EMBEDDED, ids=lambda one: one.name)
def test_the_embedded_profile_comes_from_package_indexes_first(checkpoint: Checkpoint) -> None:
    assert not isinstance(checkpoint.sources[0], UrlSource)
    for source in checkpoint.sources:
        if isinstance(source, UrlSource):
            assert all(member.path.startswith("https://") for member in source.members)


@pytest.mark.parametrize("checkpoint", EMBEDDED, ids=lambda one: one.name)
def test_the_real_embedded_files_are_found_and_verified(checkpoint: Checkpoint) -> None:
    assert registry.installed(models_dir(), checkpoint.name)
    for file in checkpoint.files:
        assert registry.path(models_dir(), file.file_name).stat().st_size == file.size_bytes


def test_a_checkpoint_of_one_file_is_found_by_its_own_name() -> None:
    assert registry.path(models_dir(), "u2netp") == models_dir() / "u2netp.onnx"


def test_a_missing_checkpoint_names_the_command_that_installs_it(tmp_path: Path) -> None:
    assert not registry.installed(tmp_path, "u2netp")
    with pytest.raises(ModelUnavailable) as caught:
        registry.path(tmp_path, "u2netp")
    assert "u2netp is not installed" in str(caught.value)
    assert "bgeraser models pull u2netp" in str(caught.value)


def test_one_of_two_files_is_not_an_installed_checkpoint(tmp_path: Path) -> None:
    shutil.copy(models_dir() / "span-x2-ch52.param", tmp_path)
    assert not registry.installed(tmp_path, "span-x2")
    assert registry.path(tmp_path, "span-x2-ch52.param").exists()
    with pytest.raises(ModelUnavailable, match="span-x2 is not installed"):
        registry.path(tmp_path, "span-x2-ch52.bin")


@pytest.mark.parametrize("damage", ["one bit", "cut short", "something else"])
def test_a_damaged_file_counts_as_not_installed_and_the_message_says_so(tmp_path: Path, damage: str) -> None:
    content = bytearray((models_dir() / "u2netp.onnx").read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    elif damage == "cut short":
        del content[-1:]
    else:
        content = bytearray(b"<html>Not found</html>")
    (tmp_path / "u2netp.onnx").write_bytes(content)
    assert not registry.installed(tmp_path, "u2netp")
    assert registry.state(tmp_path, CHECKPOINTS["u2netp"]) is State.DAMAGED
    with pytest.raises(ModelUnavailable, match=r"u2netp is damaged \(u2netp.onnx\).*models pull u2netp"):
        registry.path(tmp_path, "u2netp")


def test_a_file_that_changes_after_it_was_verified_is_verified_again(tmp_path: Path) -> None:
    target = tmp_path / "span-x2-ch52.param"
    shutil.copy(models_dir() / target.name, target)
    assert registry.path(tmp_path, target.name) == target
    content = bytearray(target.read_bytes())
    content[0] ^= 1
    target.write_bytes(content)
    os.utime(target, ns=(0, target.stat().st_mtime_ns + 1))  # were the clock coarse
    with pytest.raises(ModelUnavailable, match="damaged"):
        registry.path(tmp_path, target.name)
    shutil.copy(models_dir() / target.name, target)
    assert registry.path(tmp_path, target.name) == target


def test_an_unavailable_checkpoint_error_survives_pickling_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        registry.path(tmp_path, "u2netp")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert copy.command == caught.value.command
