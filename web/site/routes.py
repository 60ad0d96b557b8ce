"""Pages that need no account: the front page, the API reference, and FastAPI's own page of it."""

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from api.http.dependencies import public_base_url
from api.http.routes.get_and_head import add_get
from ml.catalogue import TOOLS
from web.auth import visitor
from web.plans import offers
from web.site import code_samples, errors, pages, reference, static_files

SHOWCASE = (
    ("bg-removal", "Hair and edges cut out cleanly, on any background you like."),
    ("upscale", "Two to eight times the pixels, with the detail they should have had."),
    ("generative-fill", "Point at something and it is gone; the surroundings continue."),
    ("generative-expand", "A wider frame than the photographer had."),
    ("magic-select", "One click selects a thing, another one corrects it."),
    ("crop", "To a ratio, around the subject, straightened."),
    ("brush", "Erase, restore, paint, blur or heal by hand."),
)


def add_to(app: FastAPI) -> None:
    app.mount(static_files.PLACE, static_files.SiteFiles())
    add_get(app, "/", front_page, include_in_schema=False)
    add_get(app, "/docs", reference_page, include_in_schema=False)
    add_get(app, "/openapi", openapi_page, include_in_schema=False)
    add_get(app, "/openapi/{name}", openapi_asset, include_in_schema=False)
    add_get(app, "/app", editor, include_in_schema=False)
    add_get(app, "/favicon.ico", icon, include_in_schema=False)
    errors.install(app)


async def front_page(request: Request) -> Response:
    await visitor.visitor_of(request)
    return pages.render(
        request,
        "landing.html",
        examples=code_samples.of(address_of(request)),
        plans=await offers.shown(request.app.state.services),
        showcase=[(TOOLS[name], words) for name, words in SHOWCASE],
    )


async def reference_page(request: Request) -> Response:
    await visitor.visitor_of(request)
    return pages.render(
        request,
        "reference.html",
        address=address_of(request),
        examples=code_samples.of(address_of(request)),
        **reference.facts(request.app.openapi()),
    )


async def openapi_page(request: Request) -> Response:
    """Swagger UI over `/openapi.json`. It writes styles into its elements, so its policy allows that."""
    await visitor.visitor_of(request)
    response = pages.render(request, "openapi.html")
    policy = response.headers["Content-Security-Policy"]
    nonce_free = "; ".join(
        "style-src 'self' 'unsafe-inline'" if part.startswith("style-src") else part
        for part in policy.split("; ")
    )
    response.headers["Content-Security-Policy"] = nonce_free
    return response


async def openapi_asset(request: Request, name: str) -> Response:
    return await reference.swagger_files().get_response(name, request.scope)


async def editor() -> Response:
    """The mounted page's address ends in a slash; people leave it out."""
    return RedirectResponse("/app/", 308)


async def icon() -> Response:
    """For browsers that ask at the old place, whatever the page says."""
    return RedirectResponse(static_files.address_of("icon.svg"), 308)


def address_of(request: Request) -> str:
    """Where callers reach this server, without a slash at its end."""
    return public_base_url(request)
