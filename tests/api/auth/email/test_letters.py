"""Two forms of one content: nothing that is inserted becomes markup, and nothing is fetched."""

import re
from html.parser import HTMLParser

import pytest

from api.auth.email.letters import Letter, Link, as_html, as_text, one_line

HOSTILE = "<img src=x onerror=alert(1)>&\"'</td>{{7*7}}%s"
URL = "https://pictures.example.com/settings?a=1&b=2#alerts"
LETTER = Letter(
    HOSTILE,
    (HOSTILE, "A second paragraph."),
    Link(HOSTILE, URL),
    (("Name", HOSTILE), ("Ends", "today")),
    (("Why?", Link("Settings", URL)),),
)


class Outline(HTMLParser):
    """The tags and attributes of a document, and its text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data


def test_html_repeats_every_text_and_turns_none_into_markup() -> None:
    outline = Outline(as_html(LETTER))
    assert set(outline.tags) == {
        *("html", "head", "meta", "title", "style", "body", "div", "p", "h1"),
        *("table", "tr", "th", "td", "a"),
    }
    assert outline.words.count(HOSTILE) == 5  # title twice, paragraph, value and link
    links = [value for name, value in outline.attributes if name == "href"]
    assert links == [URL, URL]
    assert not any(name.startswith("on") or name == "src" for name, _ in outline.attributes)


def test_html_loads_nothing_and_has_colours_for_dark_mode() -> None:
    document = as_html(LETTER)
    assert re.findall(r"https?://[^\"<\s]+", document.replace("&amp;", "&")) == [URL, URL]
    assert "url(" not in document
    assert "@import" not in document
    assert "@media (prefers-color-scheme: dark)" in document
    assert '<meta name="color-scheme" content="light dark">' in document
    assert "FONT" not in document


def test_text_says_the_same() -> None:
    text = as_text(LETTER)
    for part in (HOSTILE, "A second paragraph.", f"Name: {HOSTILE}", "Ends: today", URL, "Why? Settings"):
        assert part in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CI", "CI"),
        ("a\r\nBcc: eve@example.com", "a Bcc: eve@example.com"),
        ("a\u2028b\u202ec\x00d\x7fe", "a b c d e"),
        ("x" * 200, "x" * 99 + "…"),
        ("  \t ", ""),
    ],
)
def test_one_line_has_no_line_break_and_no_control_character(text: str, shown: str) -> None:
    assert one_line(text) == shown
