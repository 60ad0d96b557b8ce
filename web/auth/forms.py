"""Forms of our pages: read with care, shown again with what was wrong."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request
from starlette.responses import Response

from api.errors import FileTooLarge, InvalidRequest
from web.auth import visitor
from web.auth.services import auth_services_of
from web.auth.visitor import Visitor
from web.site import pages

HOME = "/app/"
#: Far more than any form of ours holds, far less than what would be work to read.
_FORM_BYTES_MAX = 32 * 1024
_FIELDS_MAX = 20
_NEXT_LENGTH_MAX = 1_000


async def read(request: Request) -> tuple[Visitor | None, dict[str, str]]:
    """The visitor and the fields of a form that one of our own pages sent.

    Raises Forbidden for a forged form, FileTooLarge for a huge one, InvalidRequest for what is none.
    """
    fields = await _fields(request)
    who = await visitor.visitor_of(request)
    visitor.check_csrf(request, who, fields.get("csrf_token", ""))
    return who, fields


async def read_signed_in(request: Request) -> tuple[Visitor, dict[str, str]]:
    """As `read`, of somebody who is signed in. Raises NotSignedIn."""
    who = await visitor.signed_in(request)
    return who, (await read(request))[1]


async def show(request: Request, template: str, status_code: int = 200, **values: Any) -> Response:
    """One of our pages; its forms carry `form_token`."""
    who = await visitor.visitor_of(request)
    token = visitor.form_token(request, who)
    people = auth_services_of(request)
    return pages.render(
        request,
        f"auth/{template}",
        status_code,
        form_token=token,
        shows_links=people.shows_links,
        **values,
    )


def own_path(wanted: str) -> str:
    """`wanted` if it is a path of this site, else the editor: no link of ours leads anywhere else."""
    if len(wanted) > _NEXT_LENGTH_MAX or not wanted.startswith("/") or wanted.startswith("//"):
        return HOME
    if not wanted.isprintable() or "\\" in wanted or " " in wanted:
        return HOME
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return HOME
    return HOME if parts.scheme or parts.netloc else wanted


async def _fields(request: Request) -> dict[str, str]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise InvalidRequest("This is not a form.")
    declared = request.headers.get("content-length", "")
    body = bytearray()
    if declared.isascii() and declared.isdigit() and int(declared) > _FORM_BYTES_MAX:
        raise FileTooLarge("That is far too much text for this form.")
    async for piece in request.stream():
        body += piece
        if len(body) > _FORM_BYTES_MAX:
            raise FileTooLarge("That is far too much text for this form.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"
        )
    except ValueError as error:
        raise InvalidRequest("This form cannot be read.") from error
    if len(dict(pairs)) != len(pairs) or any("\0" in name + value for name, value in pairs):
        raise InvalidRequest("This form cannot be read.")
    return dict(pairs)
