"""A small OpenID provider, and GitHub's way of signing in, as a real server on a free port.

It knows one person at a time, checks what a provider has to check (client, redirect, PKCE, codes used once),
and can be configured to answer wrongly in one way.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI, Form, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, Response
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.waiting import wait_until

CLIENT_ID, CLIENT_SECRET = "bgeraser", "a secret of the client's"


@dataclass
class Person:
    subject: str = "1001"
    email: str = "ada@example.com"
    is_verified: bool = True


@dataclass
class Provider:
    """`fault` is "" or one of: nonce, audience, issuer, expired, foreign key, unsigned, no id token, garbage,
    refused, lost.
    """

    address: str = ""
    person: Person = field(default_factory=Person)
    fault: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)  # of each visit to the authorization page
    redirect_uris: set[str] = field(default_factory=set)  # allowed; empty: any
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _tokens: set[str] = field(default_factory=set)
    _key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))

    def settings(self) -> dict[str, str]:
        """Settings of a server that signs people in here, without their prefix."""
        return {
            "oauth_oidc_issuer": self.address,
            "oauth_oidc_client_id": CLIENT_ID,
            "oauth_oidc_client_secret": CLIENT_SECRET,
            "oauth_oidc_name": "Example ID",
            "oauth_github_url": self.address,
            "oauth_github_client_id": CLIENT_ID,
            "oauth_github_client_secret": CLIENT_SECRET,
        }

    def code_for(self, query: dict[str, str]) -> str:
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        return code

    def exchange(self, form: dict[str, str]) -> dict[str, Any]:
        """The tokens for a code, as an honest provider checks them. Raises HTTPException."""
        if self.fault == "lost":
            raise HTTPException(503)
        asked = self._codes.pop(form.get("code", ""), None)
        if asked is None or form.get("redirect_uri") != asked["redirect_uri"]:
            raise HTTPException(400, "invalid_grant")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked.get("code_challenge"):
            raise HTTPException(400, "invalid_grant: PKCE")
        token = secrets.token_urlsafe(16)
        self._tokens.add(token)
        answer: dict[str, Any] = {"access_token": token, "token_type": "Bearer", "expires_in": 3_600}
        if "openid" in asked.get("scope", "") and self.fault != "no id token":
            answer["id_token"] = "garbage" if self.fault == "garbage" else self._id_token(asked, token)
        return answer

    def knows(self, token: str) -> bool:
        return token in self._tokens

    def keys(self) -> dict[str, Any]:
        return {"keys": [self._key.as_dict(private=False)]}

    def _id_token(self, asked: dict[str, str], access_token: str) -> str:
        now = int(time.time())
        claims = {
            "iss": "https://evil.example" if self.fault == "issuer" else self.address,
            "sub": self.person.subject,
            "aud": "somebody else" if self.fault == "audience" else CLIENT_ID,
            "exp": now - 3_600 if self.fault == "expired" else now + 60,
            "iat": now - 7_200 if self.fault == "expired" else now,
            "nonce": "another" if self.fault == "nonce" else asked["nonce"],
            "email": self.person.email,
            "email_verified": self.person.is_verified,
        }
        if self.fault == "unsigned":
            parts = (b'{"alg":"none"}', json.dumps(claims).encode())
            return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."
        key = RSAKey.generate_key(2048, {"kid": "one"}) if self.fault == "foreign key" else self._key
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)


@contextmanager
def running_provider() -> Iterator[Provider]:
    provider = Provider()
    config = uvicorn.Config(
        _application(provider), host="127.0.0.1", port=0, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    provider.address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        server.should_exit = True
        thread.join()


def _application(provider: Provider) -> FastAPI:
    app = FastAPI()

    @app.get("/.well-known/openid-configuration")
    async def describe() -> dict[str, Any]:
        return {
            "issuer": provider.address,
            "authorization_endpoint": f"{provider.address}/authorize",
            "token_endpoint": f"{provider.address}/token",
            "jwks_uri": f"{provider.address}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "none"],
        }

    @app.get("/keys")
    async def keys() -> dict[str, Any]:
        return provider.keys()

    @app.get("/authorize")
    @app.get("/login/oauth/authorize")
    async def authorize(request: Request) -> HTMLResponse:
        query = dict(request.query_params)
        provider.asked.append(query)
        if query.get("client_id") != CLIENT_ID or query.get("code_challenge_method") != "S256":
            raise HTTPException(400)
        answer = (
            {"error": "access_denied"} if provider.fault == "refused" else {"code": provider.code_for(query)}
        )
        back = f"{query['redirect_uri']}?{urlencode({**answer, 'state': query['state']})}".replace(
            "&", "&amp;"
        )
        return HTMLResponse(
            "<!doctype html><html lang=en><title>Example ID</title><main><h1>Example ID</h1>"
            f'<a id="back" href="{back}">Continue as {provider.person.email}</a></main>'
        )

    @app.post("/token")
    @app.post("/login/oauth/access_token")
    async def token(
        request: Request,
        authorization: Annotated[str, Header()] = "",
        grant_type: Annotated[str, Form()] = "",
    ) -> dict[str, Any]:
        sent = {name: str(value) for name, value in (await request.form()).items()}
        expected = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        by_form = (sent.get("client_id"), sent.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if (authorization != expected and not by_form) or grant_type != "authorization_code":
            raise HTTPException(401, "invalid_client")
        return provider.exchange(sent)

    @app.get("/api/v3/user")
    async def user(authorization: Annotated[str, Header()]) -> dict[str, Any]:
        _check(provider, authorization)
        return {"id": int(provider.person.subject), "login": "ada", "email": "public@example.com"}

    @app.get("/api/v3/user/emails")
    async def emails(authorization: Annotated[str, Header()]) -> list[dict[str, Any]]:
        _check(provider, authorization)
        person = provider.person
        return [
            {"email": "old@example.com", "primary": False, "verified": True},
            {"email": person.email, "primary": True, "verified": person.is_verified},
        ]

    @app.get("/favicon.ico")
    async def icon() -> Response:
        return Response(status_code=204)

    return app


def _check(provider: Provider, authorization: str) -> None:
    if not provider.knows(authorization.removeprefix("Bearer ")):
        raise HTTPException(401)
