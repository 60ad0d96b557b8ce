"""Files of a request on disk: read as they were sent, and gone when they are closed."""

import os
from pathlib import Path

import pytest

from api.errors import ServiceUnavailable
from api.images.spooling import WRITE_BYTES, Spool


def test_files_are_read_as_they_were_added_and_leave_nothing(tmp_path: Path) -> None:
    contents = [b"", b"a" * 10, os.urandom(3 * WRITE_BYTES), b"end"]
    with Spool(tmp_path) as spool:
        files = []
        for content in contents:
            for at in range(0, len(content), 65_536):
                spool.add(content[at : at + 65_536])
                assert spool.size_bytes == min(len(content), at + 65_536)
                if spool.is_due:
                    spool.flush()
            files.append(spool.end_file())
        spool.flush()
        assert [file.read() for file in files] == contents
        assert [file.size_bytes for file in files] == [len(content) for content in contents]
        assert files[1].read(3) == b"aaa"
        with files[2].opened() as opened:
            opened.seek(-5, os.SEEK_END)
            assert opened.read() == contents[2][-5:]
            opened.seek(10)
            opened.seek(7, os.SEEK_CUR)
            assert opened.read(70_000) == contents[2][17:70_017]
            with pytest.raises(ValueError, match="before the beginning"):
                opened.seek(-4 * WRITE_BYTES, os.SEEK_END)
        assert list(tmp_path.iterdir()) == []  # not even while it is open


def test_a_disk_without_room_is_no_fault_of_the_request(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable):
        Spool(tmp_path / "gone")
    with Spool(tmp_path) as spool:
        spool._file.close()
        spool._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - closed by the spool
        spool.add(b"x")
        with pytest.raises(ServiceUnavailable):
            spool.flush()
