"""Verified digests are stored across processes and invalidated when the file changes."""

import hashlib
import os
from pathlib import Path

from ml.checkpoints import digests

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def _make_file(folder: Path) -> Path:
    path = folder / "some.onnx"
    path.write_bytes(CONTENT)
    return path


def _as_in_a_new_process() -> None:
    digests._verified.clear()


def test_an_intact_file_is_not_read_again_by_the_next_process(tmp_path: Path) -> None:
    path = _make_file(tmp_path)
    assert digests.is_intact(path, SHA256)
    # Different bytes, same length and mtime: only hashing again would detect it.
    before = path.stat()
    path.write_bytes(b"Weights")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    _as_in_a_new_process()
    assert digests.is_intact(path, SHA256)
    assert not digests.verify(path, SHA256), "check() hashes in any case"
    assert not digests.is_intact(path, SHA256)


def test_a_stored_digest_is_valid_for_one_hash_only(tmp_path: Path) -> None:
    path = _make_file(tmp_path)
    assert digests.is_intact(path, SHA256)
    assert not digests.is_intact(path, "0" * 64)
    _as_in_a_new_process()
    assert digests.is_intact(path, SHA256)


def test_a_failed_verification_is_not_stored(tmp_path: Path) -> None:
    path = _make_file(tmp_path)
    assert not digests.is_intact(path, "0" * 64)
    assert list(tmp_path.iterdir()) == [path]


def test_a_malformed_stamp_is_ignored(tmp_path: Path) -> None:
    path = _make_file(tmp_path)
    (tmp_path / ".some.onnx.checked").write_bytes(b"\xff\xfe")
    assert digests.is_intact(path, SHA256)


def test_a_missing_file_is_not_intact(tmp_path: Path) -> None:
    assert not digests.is_intact(tmp_path / "nothing.onnx", SHA256)
