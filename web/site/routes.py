"""Routes of the public pages: front page, API reference, how agents connect, and Swagger UI."""

from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from api.http.dependencies import public_base_url
from api.http.routes.get_and_head import add_get
from api.payments import packs, plans
from ml.catalogue import TOOLS
from web.auth import visitor
from web.rendering import pages, static_files
from web.site import agents, code_samples, errors, reference

SHOWCASE = (
    ("bg-removal", "Cut out hair and edges cleanly, on any background you like."),
    ("upscale", "Enlarge two to eight times, with sharp detail."),
    ("generative-fill", "Remove an object; the surroundings fill the gap."),
    ("generative-expand", "Extend a picture beyond its frame."),
    ("magic-select", "Select an object with a click, and correct it with another."),
    ("crop", "Crop to a ratio or around the subject, and straighten."),
    ("brush", "Erase, restore, paint, blur or heal by hand."),
)


def add_to(app: FastAPI) -> None:
    app.mount(static_files.PLACE, static_files.SiteFiles())
    add_get(app, "/", front_page, include_in_schema=False)
    add_get(app, "/docs", reference_page, include_in_schema=False)
    add_get(app, "/docs/agents", agents_page, include_in_schema=False)
    add_get(app, "/llms.txt", llms_txt, include_in_schema=False)
    add_get(app, "/openapi", openapi_page, include_in_schema=False)
    add_get(app, "/openapi/{name}", openapi_asset, include_in_schema=False)
    add_get(app, "/app", editor, include_in_schema=False)
    add_get(app, "/favicon.ico", icon, include_in_schema=False)
    errors.install(app)


async def front_page(request: Request) -> Response:
    await visitor.visitor_of(request)
    services = visitor.services_of(request)
    return pages.render(
        request,
        "landing.html",
        examples=code_samples.for_server(public_base_url(request)),
        plans=plans.cached_offers(services),
        packs=packs.cached_offers(services),
        packs_page=packs.PAGE,
        pack_months=services.stripe.pack_months if services.stripe is not None else 0,
        showcase=[(TOOLS[name], caption) for name, caption in SHOWCASE],
    )


async def reference_page(request: Request) -> Response:
    await visitor.visitor_of(request)
    return pages.render(
        request,
        "reference.html",
        base_url=public_base_url(request),
        examples=code_samples.for_server(public_base_url(request)),
        **reference.template_values(request.app.openapi()),
    )


async def agents_page(request: Request) -> Response:
    await visitor.visitor_of(request)
    base_url = public_base_url(request)
    return pages.render(
        request,
        "agents.html",
        base_url=base_url,
        connections=agents.connections(base_url),
        tools=list(TOOLS.values()),
        free_tools=agents.free_tools(),
    )


async def llms_txt(request: Request) -> Response:
    """For language models; the same for everyone, so it has no session."""
    contact_email = request.app.state.settings.contact_email
    return PlainTextResponse(agents.llms_txt(public_base_url(request), contact_email))


async def openapi_page(request: Request) -> Response:
    """Swagger UI for `/openapi.json`. It sets inline styles, so its policy allows them."""
    await visitor.visitor_of(request)
    response = pages.render(request, "openapi.html")
    policy = response.headers["Content-Security-Policy"]
    response.headers["Content-Security-Policy"] = "; ".join(
        "style-src 'self' 'unsafe-inline'" if part.startswith("style-src") else part
        for part in policy.split("; ")
    )
    return response


async def openapi_asset(request: Request, name: str) -> Response:
    return await reference.swagger_files().get_response(name, request.scope)


async def editor() -> Response:
    """Redirect to the mounted page, whose address ends in a slash."""
    return RedirectResponse("/app/", 308)


async def icon() -> Response:
    """Browsers request this address whatever the page declares."""
    return RedirectResponse(static_files.address_of("icon.svg"), 308)
