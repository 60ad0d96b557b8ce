"""Parameters of a run are checked like those of a form, before any work."""

import os
from pathlib import Path

import pytest

from tests.support.ml.photos import photo, png_bytes
from web.cli.run.parameters import FILE_LIMIT_BYTES, WrongParameter, parse, read_file


def test_texts_are_validated_and_kept(tmp_path: Path) -> None:
    parsed = parse("bg-removal", ["bg_color=white", "crop=true", "feather="])
    assert parsed.params.model_dump(include={"bg_color", "crop", "feather"}) == {
        "bg_color": (255, 255, 255, 255),
        "crop": True,
        "feather": 0,
    }
    assert parsed.texts == {"bg_color": "white", "crop": "true", "feather": ""}
    assert parsed.result_formats == ("png", "jpg", "webp", "avif")
    assert parse("crop", ["format=JPEG"]).result_formats == ("jpg",)


def test_a_value_may_contain_an_equals_sign() -> None:
    assert parse("generative-fill", ["prompt=a=b"]).texts == {"prompt": "a=b"}


def test_files_are_read(tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    mask.write_bytes(png_bytes(photo("coffee")[:8, :8]))
    assert parse("generative-fill", [f"mask=@{mask}"]).files == {"mask": mask.read_bytes()}
    strokes = tmp_path / "strokes.json"
    strokes.write_text('[{"points": [[1, 2]], "size": 3}]')
    assert parse("brush", ["op=erase", f"strokes=@{strokes}"]).texts["strokes"] == strokes.read_text()
    # Words are words, whatever they begin with.
    assert parse("generative-fill", ["prompt=@home"]).texts == {"prompt": "@home"}


@pytest.mark.parametrize(
    ("tool", "pairs", "expected"),
    [
        ("cut-out", [], "There is no tool 'cut-out'. The tools are: bg-removal, "),
        (
            "bg-removal",
            ["bg_colour=white"],
            "bg_colour is not a parameter of bg-removal. Its ",
        ),
        ("bg-removal", ["bg_color=wite"], "bg_color: "),
        ("bg-removal", ["bg_color"], "bg_color: write parameters as name=value."),
        ("bg-removal", ["=white"], "=white: write parameters as name=value."),
        ("bg-removal", ["bg_color=red", "bg_color=blue"], "bg_color was given more than once."),
        ("bg-removal", ["shadow_opacity=10"], "shadow_opacity: "),
        ("bg-removal", ["quality=200"], "quality: "),
        ("bg-removal", ["bg_image=beach.jpg"], "bg_image is a file: write bg_image=@PATH."),
        ("bg-removal", ["bg_image=@/nowhere/beach.jpg"], "bg_image: /nowhere/beach.jpg: no such file"),
        ("bg-removal", ["bg_image=@/dev/zero"], "bg_image: /dev/zero: is not a regular file."),
        ("bg-removal", ["bg_image=@"], "bg_image: write the path of the file after @."),
        ("bg-removal", ["bg_image=@/"], "bg_image: /: is a directory."),
        ("bg-removal", [f"bg_image=@{__file__}"], "bg_image: Not a "),
        ("bg-removal", ["model=\udcff"], "model"),
        ("crop", ["image_id=img_1"], "image_id is not a parameter of crop."),
    ],
)
def test_what_is_wrong_is_named(tool: str, pairs: list[str], expected: str) -> None:
    with pytest.raises(WrongParameter) as refused:
        parse(tool, pairs)
    assert str(refused.value).startswith(expected)


def test_large_files_and_pipes_are_refused_without_reading_them(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(FILE_LIMIT_BYTES + 1)
    with pytest.raises(OSError, match="is too large: at most 25 MiB"):
        read_file(large, FILE_LIMIT_BYTES)
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="is not a regular file"):
        read_file(pipe, FILE_LIMIT_BYTES)


def test_an_empty_file_is_refused_rather_than_taken_for_a_missing_parameter(tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.touch()
    for tool, name in (("brush", "strokes"), ("bg-removal", "bg_image")):
        with pytest.raises(WrongParameter, match=f"^{name}: {empty}: is empty"):
            parse(tool, [f"{name}=@{empty}"])
