"""Names of images are kept as far as they are harmless."""

import pytest

from api.batches import item_names


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("a b.jpg", "a b.jpg"),
        ("C:\\photos\\cat.jpg", "cat.jpg"),
        ("../../cat.jpg", "cat.jpg"),
        ("..", "image-3"),
        ("", "image-3"),
        ("a\0\r\nb.jpg", "ab.jpg"),
        ("n" * 300 + ".jpg", "n" * 196 + ".jpg"),
    ],
)
def test_the_name_of_a_file_has_no_folder_and_no_control_character(sent: str, name: str) -> None:
    assert item_names.of_upload(sent, 2) == name


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("shoes/red 1.jpg", "shoes/red 1.jpg"),
        ("C:\\shoes\\red.jpg", "shoes/red.jpg"),
        ("/etc//../passwd", "etc/passwd"),
        ("../../cat.jpg", "cat.jpg"),
        (".../. ./cat.jpg.", "cat.jpg"),
        ("a\0/\r\nb.jpg", "a/b.jpg"),
        ("/..", "image-3"),
        ("", "image-3"),
        ("folder/" * 40 + "cat.jpg", "folder/" * 27 + "cat.jpg"),
    ],
)
def test_the_path_of_a_file_keeps_its_folders_and_never_leads_out_of_them(sent: str, name: str) -> None:
    path = item_names.of_path(sent, 2)
    assert len(path) <= item_names.LENGTH_MAX
    assert path.endswith(name)
    assert ".." not in path.split("/")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/shop/caf%C3%A9.jpg?size=2", "café.jpg"),
        ("https://example.com/%2e%2e%2f%2e%2e%2fpasswd", "passwd"),
        ("https://example.com/", "image-3"),
        ("https://[::1", "image-3"),
    ],
)
def test_the_name_of_a_url_is_the_last_part_of_its_path(url: str, name: str) -> None:
    assert item_names.of_url(url, 2) == name
