"""Providers of sign-ins: Google, GitHub and any OpenID provider, spoken to through Authlib.

Each exchange has state, PKCE (S256) and, with OpenID, a nonce; ID tokens are checked against the provider's
keys. All that is taken from a provider is who somebody is and whether their address was proved.
"""

from dataclasses import dataclass
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError

from api.auth.external_identities import Claim
from api.errors import Forbidden, ServiceUnavailable
from api.settings import Settings

_TIMEOUT_SECONDS = 10.0
_GOOGLE = "https://accounts.google.com"
_PKCE = {"code_challenge_method": "S256", "timeout": _TIMEOUT_SECONDS}


@dataclass(frozen=True)
class Begun:
    """An exchange that was begun: where to send the browser, and what it must come back with."""

    url: str
    state: str
    nonce: str  # "" where the provider is not of OpenID
    code_verifier: str


class Provider:
    """One provider. Both methods raise ServiceUnavailable if it cannot be reached."""

    def __init__(self, name: str, title: str, issuer: str, **registration: Any) -> None:
        self.name = name  # part of our addresses
        self.title = title  # what people call it
        self.issuer = issuer  # what its identities are stored under
        self._client = OAuth().register(name, **registration)
        self._is_openid = "server_metadata_url" in registration

    async def begin(self, callback_url: str) -> Begun:
        try:
            begun = await self._client.create_authorization_url(callback_url)
        except (httpx2.HTTPError, AuthlibBaseError, RuntimeError, ValueError) as error:
            raise ServiceUnavailable(f"{self.title} cannot be reached. Please try again.") from error
        assert begun.get("code_verifier"), "the exchange has no PKCE"
        assert begun.get("nonce") or not self._is_openid, "the exchange has no nonce"
        return Begun(begun["url"], begun["state"], begun.get("nonce", ""), begun["code_verifier"])

    async def finish(self, begun: Begun, callback_url: str, code: str) -> Claim:
        """Who signed in. Raises Forbidden for an answer that is not what was begun."""
        try:
            token = await self._client.fetch_access_token(
                callback_url, code=code, code_verifier=begun.code_verifier
            )
            if self._is_openid:
                return await self._claim_of_id_token(token, begun.nonce)
            return await self._claim_of_github(token)
        except httpx2.HTTPError as error:
            raise ServiceUnavailable(f"{self.title} cannot be reached. Please try again.") from error
        except (AuthlibBaseError, JoseError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise Forbidden(f"{self.title} did not confirm the sign-in. Please try again.") from error

    async def _claim_of_id_token(self, token: dict[str, Any], nonce: str) -> Claim:
        metadata = await self._client.load_server_metadata()
        # A provider that lists "none" among its algorithms would make unsigned tokens good.
        listed = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [
            name for name in listed if name.startswith(("RS", "PS", "ES", "Ed"))
        ]
        person = await self._client.parse_id_token(token, nonce=nonce)
        if person is None:
            raise ValueError("no ID token came")
        return Claim(
            issuer=self.issuer,
            subject=str(person["sub"]),
            email=str(person.get("email") or ""),
            is_verified=person.get("email_verified") is True,
        )

    async def _claim_of_github(self, token: dict[str, Any]) -> Claim:
        """GitHub's own interface: the person's number, and the addresses with what is known of each."""
        person = await self._client.get("user", token=token)
        addresses = await self._client.get("user/emails", token=token)
        for answer in (person, addresses):
            answer.raise_for_status()
        primary: dict[str, Any] = next((one for one in addresses.json() if one["primary"]), {})
        return Claim(
            issuer=self.issuer,
            subject=str(person.json()["id"]),
            email=str(primary.get("email") or ""),
            is_verified=primary.get("verified") is True,
        )


def providers_of(settings: Settings) -> dict[str, Provider]:
    """The providers that are configured, by name, in the order of their buttons."""
    found = []
    if settings.oauth_google_client_id and settings.oauth_google_client_secret:
        client_id, secret = settings.oauth_google_client_id, settings.oauth_google_client_secret
        found.append(_openid("google", "Google", _GOOGLE, client_id, secret.get_secret_value()))
    if settings.oauth_github_client_id and settings.oauth_github_client_secret:
        client_id, secret = settings.oauth_github_client_id, settings.oauth_github_client_secret
        found.append(_github(settings.oauth_github_url.rstrip("/"), client_id, secret.get_secret_value()))
    if settings.oauth_oidc_issuer and settings.oauth_oidc_client_id and settings.oauth_oidc_client_secret:
        issuer, client_id = settings.oauth_oidc_issuer.rstrip("/"), settings.oauth_oidc_client_id
        secret = settings.oauth_oidc_client_secret
        found.append(_openid("oidc", settings.oauth_oidc_name, issuer, client_id, secret.get_secret_value()))
    return {provider.name: provider for provider in found}


def _openid(name: str, title: str, issuer: str, client_id: str, secret: str) -> Provider:
    return Provider(
        name,
        title,
        issuer,
        client_id=client_id,
        client_secret=secret,
        server_metadata_url=f"{issuer}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid email", **_PKCE},
    )


def _github(url: str, client_id: str, secret: str) -> Provider:
    return Provider(
        "github",
        "GitHub",
        url,
        client_id=client_id,
        client_secret=secret,
        authorize_url=f"{url}/login/oauth/authorize",
        access_token_url=f"{url}/login/oauth/access_token",
        # GitHub Enterprise has its interface below its own address.
        api_base_url="https://api.github.com/" if url == "https://github.com" else f"{url}/api/v3/",
        client_kwargs={"scope": "read:user user:email", **_PKCE},
    )
