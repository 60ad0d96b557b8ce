"""External sign-in providers: Google, GitHub and any OpenID provider, through Authlib.

Each exchange has a state, PKCE (S256) and, with OpenID, a nonce. ID tokens are checked against the provider's
keys. Only the subject, the email address and whether it was verified are read from the provider.
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
class Authorization:
    """A started authorization: where to send the browser, and the values that the callback must match."""

    url: str
    state: str
    nonce: str  # "" unless the provider supports OpenID
    code_verifier: str


class Provider:
    """One provider. Both methods raise ServiceUnavailable if it cannot be reached."""

    def __init__(self, name: str, title: str, issuer: str, **registration: Any) -> None:
        self.name = name  # used in paths
        self.title = title  # shown to people
        self.issuer = issuer  # the key of stored identities
        self._client = OAuth().register(name, **registration)
        self._is_openid = "server_metadata_url" in registration

    async def begin(self, callback_url: str) -> Authorization:
        try:
            parameters = await self._client.create_authorization_url(callback_url)
        except (httpx2.HTTPError, AuthlibBaseError, RuntimeError, ValueError) as error:
            raise ServiceUnavailable(f"{self.title} cannot be reached. Please try again.") from error
        assert parameters.get("code_verifier"), "the exchange has no PKCE"
        assert parameters.get("nonce") or not self._is_openid, "the exchange has no nonce"
        return Authorization(
            url=parameters["url"],
            state=parameters["state"],
            nonce=parameters.get("nonce", ""),
            code_verifier=parameters["code_verifier"],
        )

    async def finish(self, authorization: Authorization, callback_url: str, code: str) -> Claim:
        """The identity that signed in. Raises Forbidden if the provider's response does not match."""
        try:
            token = await self._client.fetch_access_token(
                callback_url, code=code, code_verifier=authorization.code_verifier
            )
            if self._is_openid:
                return await self._claim_of_id_token(token, authorization.nonce)
            return await self._claim_of_github(token)
        except httpx2.HTTPError as error:
            raise ServiceUnavailable(f"{self.title} cannot be reached. Please try again.") from error
        except (AuthlibBaseError, JoseError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise Forbidden(f"{self.title} did not confirm the sign-in. Please try again.") from error

    async def _claim_of_id_token(self, token: dict[str, Any], nonce: str) -> Claim:
        metadata = await self._client.load_server_metadata()
        # Never accept "none" (unsigned tokens), even if the provider lists it among its algorithms.
        listed = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [
            name for name in listed if name.startswith(("RS", "PS", "ES", "Ed"))
        ]
        claims = await self._client.parse_id_token(token, nonce=nonce)
        if claims is None:
            raise ValueError("the response has no ID token")
        return Claim(
            issuer=self.issuer,
            subject=str(claims["sub"]),
            email=str(claims.get("email") or ""),
            is_verified=claims.get("email_verified") is True,
        )

    async def _claim_of_github(self, token: dict[str, Any]) -> Claim:
        """GitHub has no ID tokens: its API returns the user's id and email addresses."""
        user = await self._client.get("user", token=token)
        emails = await self._client.get("user/emails", token=token)
        for response in (user, emails):
            response.raise_for_status()
        primary: dict[str, Any] = next((email for email in emails.json() if email["primary"]), {})
        return Claim(
            issuer=self.issuer,
            subject=str(user.json()["id"]),
            email=str(primary.get("email") or ""),
            is_verified=primary.get("verified") is True,
        )


def providers_of(settings: Settings) -> dict[str, Provider]:
    """The configured providers by name, in the order of their buttons."""
    providers = []
    if settings.oauth_google_client_id and settings.oauth_google_client_secret:
        client_id, secret = settings.oauth_google_client_id, settings.oauth_google_client_secret
        providers.append(_openid("google", "Google", _GOOGLE, client_id, secret.get_secret_value()))
    if settings.oauth_github_client_id and settings.oauth_github_client_secret:
        client_id, secret = settings.oauth_github_client_id, settings.oauth_github_client_secret
        providers.append(_github(settings.oauth_github_url.rstrip("/"), client_id, secret.get_secret_value()))
    if settings.oauth_oidc_issuer and settings.oauth_oidc_client_id and settings.oauth_oidc_client_secret:
        issuer, client_id = settings.oauth_oidc_issuer.rstrip("/"), settings.oauth_oidc_client_id
        secret = settings.oauth_oidc_client_secret
        providers.append(
            _openid("oidc", settings.oauth_oidc_name, issuer, client_id, secret.get_secret_value())
        )
    return {provider.name: provider for provider in providers}


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
        # GitHub Enterprise serves its API below its own address.
        api_base_url="https://api.github.com/" if url == "https://github.com" else f"{url}/api/v3/",
        client_kwargs={"scope": "read:user user:email", **_PKCE},
    )
