"""Mails in two forms from one content: plain text, and HTML that needs no picture and no other file.

Everything that is inserted is escaped here. Colours are those of the site, light and dark.
"""

from dataclasses import dataclass
from html import escape

#: Of whichever system shows the mail.
_FONT = '-apple-system, "Segoe UI", Roboto, "Noto Sans", Helvetica, Arial, sans-serif'
_STYLE = """
:root { color-scheme: light dark; supported-color-schemes: light dark; }
body { margin: 0; padding: 0; background: #f7f6f2; color: #1b2321; -webkit-text-size-adjust: 100%; }
.page { padding: 24px 12px; background: #f7f6f2; }
.card { max-width: 536px; margin: 0 auto; padding: 28px 32px; background: #ffffff; border: 1px solid #dcd9cf;
  border-radius: 10px; font: 16px/1.5 FONT;
  color: #1b2321; overflow-wrap: break-word; word-break: break-word; }
.brand { margin: 0 0 20px; font-weight: 700; color: #0f6b5c; }
h1 { margin: 0 0 16px; font-size: 22px; line-height: 1.3; }
p { margin: 0 0 16px; }
table { width: 100%; margin: 0 0 16px; border-collapse: collapse; }
th, td { padding: 8px 0; border-bottom: 1px solid #dcd9cf; text-align: left; vertical-align: top;
  font-weight: 400; overflow-wrap: anywhere; }
th { width: 38%; padding-right: 12px; color: #56605c; }
.button { display: inline-block; padding: 11px 20px; border-radius: 8px; background: #0f6b5c; color: #ffffff;
  font-weight: 600; text-decoration: none; }
.footer { max-width: 536px; margin: 16px auto 0; padding: 0 32px; font: 13px/1.5 FONT; color: #56605c; }
.footer p { margin: 0 0 8px; }
.footer a { color: #0f6b5c; }
@media (max-width: 480px) { .card { padding: 22px 20px; } .footer { padding: 0 20px; } }
@media (prefers-color-scheme: dark) {
  body, .page { background: #141917; color: #e9ecea; }
  .card { background: #1d2422; border-color: #323b38; color: #e9ecea; }
  .brand, .footer a { color: #5cc4ae; }
  th, .footer { color: #a5afab; }
  th, td { border-color: #323b38; }
  .button { background: #5cc4ae; color: #08211c; }
}
""".replace("FONT", _FONT)


@dataclass(frozen=True)
class Link:
    label: str
    url: str


@dataclass(frozen=True)
class Letter:
    """What a mail says. All texts are plain; `facts` are pairs of a name and a value."""

    title: str
    paragraphs: tuple[str, ...]
    action: Link | None = None
    facts: tuple[tuple[str, str], ...] = ()
    #: Sentences below, each with a link.
    footer: tuple[tuple[str, Link], ...] = ()


def as_text(letter: Letter) -> str:
    """The letter in plain text."""
    facts = "\n".join(f"{name}: {value}" for name, value in letter.facts)
    parts = [
        letter.title,
        *letter.paragraphs,
        *([facts] if facts else []),
        *([f"{letter.action.label}: {letter.action.url}"] if letter.action else []),
        *(["-- \n" + "\n".join(_footer_lines(letter))] if letter.footer else []),
    ]
    return "\n\n".join(parts) + "\n"


def _footer_lines(letter: Letter) -> list[str]:
    return [f"{sentence} {link.label}: {link.url}" for sentence, link in letter.footer]


def as_html(letter: Letter) -> str:
    """The letter as a whole HTML document."""
    paragraphs = "".join(f"<p>{escape(each)}</p>\n" for each in letter.paragraphs)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>\n'
        for name, value in letter.facts
    )
    table = f"<table>\n{rows}</table>\n" if rows else ""
    action = f'<p style="margin-bottom:0">{_anchor(letter.action, "button")}</p>\n' if letter.action else ""
    lines = "".join(f"<p>{escape(sentence)} {_anchor(link)}.</p>\n" for sentence, link in letter.footer)
    footer = f'<div class="footer">\n{lines}</div>\n' if lines else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="supported-color-schemes" content="light dark">\n'
        f"<title>{escape(letter.title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f'<body>\n<div class="page">\n<div class="card">\n<p class="brand">bgeraser</p>\n'
        f"<h1>{escape(letter.title)}</h1>\n{paragraphs}{table}"
        f"{action}</div>\n{footer}</div>\n</body>\n</html>\n"
    )


def _anchor(link: Link, style_class: str = "") -> str:
    attribute = f' class="{style_class}"' if style_class else ""
    return f'<a{attribute} href="{escape(link.url)}">{escape(link.label)}</a>'


def one_line(text: str, length_max: int = 100) -> str:
    """`text` without line breaks, control and direction characters, of at most `length_max` characters."""
    shown = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return shown if len(shown) <= length_max else shown[: length_max - 1] + "…"
