"""A browser without a screen: keeps cookies, finds the tokens in forms, sends forms as a browser does."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from tests.support.apps import Clock, LocalApi, local_api
from web.auth import routes as people
from web.auth import visitor
from web.auth.services import AuthServices
from web.site import routes as site

HTML = {"Accept": "text/html,*/*;q=0.8"}
GOOD_PASSWORD = "seven quiet otters"


class Site:
    """The pages over the API of `api`, without a network and without Gradio."""

    def __init__(self, api: LocalApi) -> None:
        self.api = api
        visitor.install(api.app, api.services)
        people.add_to(api.app, api.app.state.settings)
        site.add_to(api.app)
        self.auth: AuthServices = api.app.state.auth

    @property
    def clock(self) -> Clock:
        return self.api.clock

    def browser(self, address: str = "127.0.0.1") -> "Browser":
        return Browser(self.api.app, self.api, address)


class Browser:
    """One visitor. `address`: where it connects from."""

    def __init__(self, app: FastAPI, api: LocalApi, address: str) -> None:
        self._app, self._api, self._address = app, api, address
        self.cookies = httpx.Cookies()
        self.text = ""  # of the page it shows

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._send("GET", path, headers={**HTML, **headers})

    def head(self, path: str) -> httpx.Response:
        return self._send("HEAD", path, headers=HTML)

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Sends a form with the token of the page that is shown, unless `fields` has one."""
        token = re.search(r'name="csrf_token" value="([^"]*)"', self.text)
        return self.post_raw(path, {"csrf_token": token[1] if token else "", **fields})

    def post_raw(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        sent = {**HTML, "Sec-Fetch-Site": "same-origin", **headers}
        return self._send("POST", path, data=fields, headers=sent)

    def sign_up(self, email: str, password: str = GOOD_PASSWORD) -> httpx.Response:
        self.get("/signup")
        return self.post("/signup", email=email, password=password)

    def verify(self, link: str) -> httpx.Response:
        self.get(path_of(link))
        return self.post("/verify", token=link.partition("token=")[2])

    def join(self, email: str, password: str = GOOD_PASSWORD) -> "Browser":
        """Signs up and in, on a site that shows its links."""
        self.sign_up(email, password)
        assert self.verify(self.link("verify")).status_code == 303
        return self

    def log_in(self, email: str, password: str = GOOD_PASSWORD) -> httpx.Response:
        self.get("/login")
        return self.post("/login", email=email, password=password)

    def link(self, kind: str) -> str:
        """The link that the page shows instead of sending it."""
        found = re.search(rf'href="http://test/({kind}[^"]*token=[^"]*)"', self.text)
        assert found is not None, self.text
        return f"http://test/{found[1]}"

    def is_signed_in(self) -> bool:
        return self.get("/settings").status_code == 200

    def session_cookie(self) -> str | None:
        for cookie in self.cookies.jar:
            if cookie.name.endswith("bgeraser_session"):
                return cookie.value
        return None

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        response: httpx.Response = self._api.call(self._request, method, path, options)
        if "text/html" in response.headers.get("content-type", ""):
            self.text = response.text
        return response

    async def _request(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self._app, client=(self._address, 50_000))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test", cookies=self.cookies
        ) as client:
            response = await client.request(method, path, **options)
            self.cookies = client.cookies
            return response


def path_of(link: str) -> str:
    return link.removeprefix("http://test")


@contextmanager
def opened_site(directory: Path, **settings: Any) -> Iterator[Site]:
    with local_api(directory, **settings) as api:
        opened = Site(api)
        yield opened
        opened.auth.close()
