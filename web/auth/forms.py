"""HTML forms: size limits, parsing, CSRF checks, and rendering with error messages."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request
from starlette.responses import Response

from api.errors import FileTooLarge, InvalidRequest
from web.auth import visitor
from web.auth.services import auth_services_of
from web.auth.visitor import SignedInVisitor, Visitor
from web.rendering import pages

HOME = "/app/"
#: Far more than any of our forms needs, and still cheap to parse.
_FORM_BYTES_MAX = 32 * 1024
_FIELDS_MAX = 20
_NEXT_LENGTH_MAX = 1_000


async def read(request: Request) -> tuple[Visitor | None, dict[str, str]]:
    """The visitor and the fields of a form that was sent by one of our own pages.

    Raises Forbidden for a forged form, FileTooLarge for a huge one, InvalidRequest for a malformed one.
    """
    fields = await _read_fields(request)
    sender = await visitor.visitor_of(request)
    visitor.check_csrf(request, sender, fields.get("csrf_token", ""))
    return sender, fields


async def read_signed_in(request: Request) -> tuple[SignedInVisitor, dict[str, str]]:
    """As `read`, for a signed-in visitor. Also raises NotSignedIn."""
    user = await visitor.require_signed_in(request)
    return user, (await read(request))[1]


async def read_owner(request: Request) -> tuple[SignedInVisitor, dict[str, str]]:
    """As `read_signed_in`, for what belongs to the account's owner. Raises as `visitor.require_owner` too."""
    user = await visitor.require_owner(request)
    return user, (await read(request))[1]


async def show(request: Request, template: str, status_code: int = 200, **values: Any) -> Response:
    """Render a page of `templates/auth`, whose forms contain `form_token`."""
    reader = await visitor.visitor_of(request)
    token = visitor.csrf_token_for(request, reader)
    auth = auth_services_of(request)
    return pages.render(
        request,
        f"auth/{template}",
        status_code,
        form_token=token,
        shows_links=auth.shows_links,
        **values,
    )


def local_path(path: str) -> str:
    """`path` if it is a path of this site, else the editor's: redirects must not lead to other sites."""
    if len(path) > _NEXT_LENGTH_MAX or not path.startswith("/") or path.startswith("//"):
        return HOME
    if not path.isprintable() or "\\" in path or " " in path:
        return HOME
    try:
        parts = urlsplit(path)
    except ValueError:
        return HOME
    return HOME if parts.scheme or parts.netloc else path


async def _read_fields(request: Request) -> dict[str, str]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise InvalidRequest("The request body must be form-encoded.")
    declared = request.headers.get("content-length", "")
    body = bytearray()
    if declared.isascii() and declared.isdigit() and int(declared) > _FORM_BYTES_MAX:
        raise FileTooLarge("This form is too large.")
    async for piece in request.stream():
        body += piece
        if len(body) > _FORM_BYTES_MAX:
            raise FileTooLarge("This form is too large.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"
        )
    except ValueError as error:
        raise InvalidRequest("This form could not be parsed.") from error
    if len(dict(pairs)) != len(pairs) or any("\0" in name + value for name, value in pairs):
        raise InvalidRequest("This form could not be parsed.")
    return dict(pairs)
