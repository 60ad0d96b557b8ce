"""Renders the plain pages from Jinja templates, which escape values by default."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from web.rendering import content_security, static_files

_TEMPLATES = Path(__file__).parent / "templates"


def render(
    request: Request,
    template: str,
    status_code: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A page from `templates/` with `request`, `visitor` (None without a session), `csrf_token` and `nonce`.

    Call `web.auth.visitor.visitor_of` first if the page should show who is signed in. Pages are never cached,
    because they contain personal data.
    """
    visitor = getattr(request.state, "visitor", None)
    nonce = content_security.new_nonce()
    content = (
        _environment()
        .get_template(template)
        .render(
            request=request,
            visitor=visitor,
            csrf_token=visitor.csrf_token if visitor is not None else "",
            nonce=nonce,
            **values,
        )
    )
    headers = {
        "Content-Security-Policy": content_security.page_policy(nonce),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
    }
    return HTMLResponse(content, status_code, headers)


def fragment(template: str, **values: Any) -> str:
    """Part of a page from `templates/`, for pages that Gradio renders."""
    return _environment().get_template(template).render(**values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,  # fail on a misspelt name instead of rendering nothing
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static_files.address_of
    return environment
