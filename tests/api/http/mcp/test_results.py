"""How long an agent's answer may be; its fields are tested in `test_server.py`."""

from api.http.mcp import results


def test_what_would_fill_a_context_is_left_out_and_named() -> None:
    runs = {"size": [400, 600], "counts": list(range(20_000))}
    kept, left_out = results._short_fields({"rle": runs, "bbox": [1, 2, 3, 4], "imageId": "img_1"})
    assert left_out == ["rle"]
    assert kept == {"bbox": [1, 2, 3, 4], "imageId": "img_1"}
