"""The operator's settings: environment variables `BGERASER_*` or `.env`. Only `api` and `web` read them.

Every field is in `.env.example` with its unit and default; a test compares the two.
"""

import difflib
import importlib.util
import os
import re
import secrets
from contextlib import suppress
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from billing.subscriptions.connection import is_live_key
from ml.device import CpuLimit, PrecisionChoice
from ml.generative_config import AUTO, DEFAULT_INPAINTING, GenerativeConfig, Scheduler, SettingNames
from ml.runtime.cluster.families import DEFAULT_SIZES, FamilySize


class MissingSecret(Exception):
    """`BGERASER_SECRET_KEY` is needed as soon as the server has a public address."""


class WrongSettings(Exception):
    """Settings that a server cannot, or must not, start with. One sentence, which repeats no secret."""


_PREFIX = "BGERASER_"
_ORIGIN = re.compile(
    r"https?://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.IGNORECASE
)
#: In pydantic-settings' message about a value that cannot be parsed.
_JSON_FIELD = re.compile(r'field "(\w+)"')


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_file=".env", extra="ignore", frozen=True)

    data_dir: Path = Field(
        Path("data"), description="Directory for the database, images, checkpoints and secret."
    )
    models_dir: Path | None = Field(
        None, description="Directory for checkpoints; default: models in the data directory."
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy URL; default: SQLite in the data directory."
    )
    storage_url: str | None = Field(
        None,
        description="Stored images, file:///directory or s3://bucket/prefix; default: images in the data"
        " directory.",
    )
    storage_redirect: bool = Field(
        False, description="Image URLs lead to signed URLs of the bucket, which callers must reach."
    )
    public_url: str | None = Field(None, description="Public base URL of signed URLs and e-mailed links.")
    contact_email: str | None = Field(
        None, description="Address for questions about the API, named in its OpenAPI document."
    )
    development: bool = Field(False, description="Listen beyond loopback without a public URL.")
    secret_key: SecretStr | None = Field(None, description="Signs result URLs; at least 32 characters.")
    secret_key_previous: SecretStr | None = Field(
        None, description="The previous secret key, which is still accepted."
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Inference device; the server refuses to start without it."
    )
    ml_backend: Literal["local", "ray"] = Field(
        "local", description="Where tools run: local worker processes, or a Ray cluster."
    )
    ray_address: str = Field(
        "auto", description="Address of the Ray cluster's head, host:port; auto: the node on this machine."
    )
    ray_families: dict[str, FamilySize] = Field(
        {}, description="JSON: replicas, CPUs and GPUs of families of tools that differ from the defaults."
    )
    precision: PrecisionChoice = Field(
        "auto",
        description="Arithmetic of networks: auto, f32, bf16 or int8. A network that it would harm uses f32.",
    )
    cpu_limit: CpuLimit | None = Field(
        None,
        description="Instruction sets that engines use at most: avx2, vnni or bf16; all by default.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Worker processes; default: one per core and 2 GiB of memory, at least 2.",
    )
    worker_memory_mb: int = Field(
        4096, ge=512, description="Memory limit of a worker in MiB; it is replaced beyond it."
    )
    test_calls_per_minute: int = Field(
        20, ge=1, description="Calls a minute of each account's test keys (bge_test_...) together."
    )
    queue_size: int = Field(256, ge=1, description="Maximum number of queued calls.")
    body_memory_mb: int = Field(1024, ge=128, description="Memory for request bodies in flight, in MiB.")
    batch_upload_mb: int = Field(
        1024, ge=1, le=2048, description="Size of the body of one batch, which is written to disk, in MiB."
    )
    allow_http_urls: bool = Field(
        False, description="Fetch images that callers name by URL, and send webhooks, over plain http too."
    )
    cors_origins: str = Field(
        "",
        description="Origins whose pages may call the API, with commas between them, or *; none by default.",
    )
    call_timeout_seconds: float = Field(300.0, gt=0, description="Time limit of a call in seconds.")
    job_timeout_seconds: float = Field(
        1800.0, gt=0, description="Time limit in seconds of a call that runs as a job."
    )
    run_jobs: bool = Field(
        True,
        description="Run jobs, batches and webhooks in this server; false: bgeraser worker runs them.",
    )
    shutdown_seconds: float = Field(
        25.0, ge=0, le=3600, description="Seconds that running calls get to finish after SIGTERM."
    )
    drain_seconds: float = Field(
        0.0,
        ge=0,
        le=300,
        description="Seconds after SIGTERM in which the server is not ready, but still works, so that a proxy"
        " leaves it first.",
    )
    connections: int = Field(2000, ge=1, description="Maximum number of open connections.")
    connections_per_address: int = Field(
        256, ge=1, description="Maximum number of connections per address; trusted proxies are exempt."
    )
    retention_hours: int = Field(24, ge=1, description="Hours until unused uploads and results are deleted.")
    account_storage_mb: int = Field(2048, ge=1, description="Storage quota of an account in MiB.")
    inpaint_checkpoint: str = Field(
        DEFAULT_INPAINTING, description="Inpainting checkpoint for prompts: a name, a directory, or a hub id."
    )
    inpaint_lora: str = Field(
        AUTO, description="Few-step LoRA: auto (the built-in one, on CPU), none, or a .safetensors file."
    )
    inpaint_tiny_vae: str = Field(
        AUTO,
        description="Tiny autoencoder: auto (the built-in one, on CPU), none, a file or a directory.",
    )
    inpaint_scheduler: Scheduler = Field(
        "auto", description="own: the checkpoint's; auto: lcm with a LoRA, else own."
    )
    inpaint_steps: int | None = Field(
        None, ge=1, le=150, description="Default steps; 4 with lcm and turbo, else 25, if unset."
    )
    inpaint_guidance: float | None = Field(
        None, ge=0, le=30, description="Default guidance scale; 1 (none) or 7.5 if unset."
    )
    inpaint_safety_checker: bool = Field(
        False, description="Reject results that the checkpoint's own safety checker flags."
    )
    sam_checkpoint: Path | None = Field(
        None, description="A Segment Anything .pth file, selected by model=sam."
    )
    allow_noncommercial: bool = Field(
        False, description="Serve checkpoints whose licence forbids commercial use."
    )
    models_mirror: Path | None = Field(
        None, description="Directory from which models pull copies files instead of downloading."
    )
    smtp_url: SecretStr | None = Field(None, description="smtp://user:password@host:587 or smtps://…:465.")
    mail_from: str | None = Field(
        None, description="Sender of emails; default: bgeraser@ the host of the public URL."
    )
    oauth_google_client_id: str | None = Field(None, description="Client id for sign-in with Google.")
    oauth_google_client_secret: SecretStr | None = Field(None, description="Its client secret.")
    oauth_github_client_id: str | None = Field(None, description="Client id for sign-in with GitHub.")
    oauth_github_client_secret: SecretStr | None = Field(None, description="Its client secret.")
    oauth_github_url: str = Field("https://github.com", description="Base URL, for GitHub Enterprise.")
    oauth_oidc_issuer: str | None = Field(None, description="Issuer URL of another OpenID provider.")
    oauth_oidc_client_id: str | None = Field(None, description="Client id at that provider.")
    oauth_oidc_client_secret: SecretStr | None = Field(None, description="Its client secret.")
    oauth_oidc_name: str = Field("single sign-on", description="Name on its button, after Continue with.")
    trusted_proxies: str = Field("127.0.0.1", description="Proxies whose X-Forwarded-* is trusted.")
    stripe_secret_key: SecretStr | None = Field(
        None, description="Secret key of Stripe; unset: plans are not sold."
    )
    stripe_allow_test: bool = Field(
        False, description="Accept a key of Stripe's test mode although the server has a public URL."
    )
    stripe_webhook_secret: SecretStr | None = Field(
        None, description="Signing secret of the webhook endpoint; unset: 404."
    )
    stripe_webhook_secret_previous: SecretStr | None = Field(
        None, description="The previous secret, accepted as well during rotation."
    )
    stripe_api_base: str | None = Field(None, description="Base URL of Stripe's API; only for the simulator.")
    stripe_automatic_tax: bool = Field(False, description="Stripe Tax calculates taxes at checkout.")
    stripe_collect_tax_ids: bool = Field(
        False, description="Checkout asks for the billing address, and companies for their tax id."
    )
    stripe_promotion_codes: bool = Field(False, description="Checkout accepts promotion codes.")
    stripe_trial_days: int = Field(
        0, ge=0, le=365, description="Free trial of an account's first subscription (days; 0 = none)."
    )
    pack_months: int = Field(
        12, ge=1, le=60, description="How long the credits of a pack last after its payment (months)."
    )
    metrics_token: SecretStr | None = Field(None, description="Bearer token of /metrics; unset: 404.")
    otlp_endpoint: str | None = Field(
        None, description="URL of an OpenTelemetry collector (OTLP over HTTP) for traces; unset: none."
    )
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)  # raises ValueError for invalid brackets and ports
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("must be a complete URL such as https://images.example.com")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must be scheme, host and port only, such as https://images.example.com")
        if not value.isascii() or any(map(str.isspace, value)):
            raise ValueError("must be ASCII without spaces: write other letters of a host as xn--…")
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_a_collector(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("must be a complete URL such as http://127.0.0.1:4318")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(
                "must be scheme, host, port and path only; a collector's key goes into"
                " OTEL_EXPORTER_OTLP_HEADERS"
            )
        if not value.isascii() or any(map(str.isspace, value)):
            raise ValueError("must be ASCII without spaces")
        return value

    @field_validator("contact_email")
    @classmethod
    def _is_an_email_address(cls, value: str | None) -> str | None:
        if not value:
            return None
        name, _, host = value.rpartition("@")
        if not name or "." not in host or not value.isascii() or any(map(str.isspace, value)):
            raise ValueError("must be an email address such as help@example.com")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        origins = _listed(value)
        for origin in origins:
            if not (_ORIGIN.fullmatch(origin) or origins == ["*"]):
                raise ValueError(
                    "must be * or origins such as https://shop.example.com, without a path and with commas"
                    " between them"
                )
        return value

    @field_validator("ray_address")
    @classmethod
    def _is_a_host_and_port(cls, value: str) -> str:
        port = value.rpartition(":")[2]
        if value != "auto" and not (
            re.fullmatch(r"[A-Za-z0-9.\-\[\]:_]+:[0-9]{1,5}", value) and 0 < int(port) < 65536
        ):
            raise ValueError("must be host:port, such as 10.0.0.2:6379, or auto")
        return value

    @field_validator("ray_families")
    @classmethod
    def _are_families(cls, value: dict[str, FamilySize]) -> dict[str, FamilySize]:
        if unknown := value.keys() - DEFAULT_SIZES.keys():
            raise ValueError(f"has no family {min(unknown)!r}: there are {', '.join(DEFAULT_SIZES)}")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        for part in _listed(value):
            if part != "*":
                try:
                    ip_network(part)
                except ValueError:
                    raise ValueError(
                        "must be addresses such as 10.0.0.7 or 10.0.0.0/24, with commas between them"
                    ) from None
        return value

    @field_validator("stripe_secret_key")
    @classmethod
    def _is_a_stripe_key(cls, value: SecretStr | None) -> SecretStr | None:
        if not _begins_with(value, "sk_", "rk_"):
            raise ValueError("must be a secret key of Stripe's, which begins with sk_ or rk_")
        return value

    @field_validator("stripe_webhook_secret", "stripe_webhook_secret_previous")
    @classmethod
    def _is_a_webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if not _begins_with(value, "whsec_"):
            raise ValueError("must be a webhook endpoint's signing secret, which begins with whsec_")
        return value

    @classmethod
    def load(cls) -> Self:
        """The settings of the environment and `.env`. Raises WrongSettings, which names the variable."""
        try:
            return cls()
        except ValidationError as error:
            # Pydantic's own text repeats the values, including secrets.
            problems = [
                f"{_name_of(problem['loc'])} {_sentence(problem['msg'])}"
                for problem in error.errors(include_input=False, include_url=False)
            ]
            raise WrongSettings("; ".join(problems) + ".") from None
        except SettingsError as error:  # text that should be JSON
            name = _JSON_FIELD.search(str(error))
            field = "a setting" if name is None else f"{_PREFIX}{name[1].upper()}"
            raise WrongSettings(f"{field} must be JSON.") from None

    def refuse_unsafe_address(self, host: str) -> None:
        """Raises WrongSettings or MissingSecret if the server must not listen on `host`, or mail its links.

        Other machines may connect only to a server with a public address and a secret: in development, pages
        show secrets such as password reset links.
        """
        if self.development and not self.is_development:
            raise WrongSettings(
                "BGERASER_DEVELOPMENT=true contradicts the public address in BGERASER_PUBLIC_URL:"
                " unset one of them."
            )
        if self.is_development and not is_loopback(host) and not self.development:
            raise WrongSettings(
                f"it would listen on {host or 'every address'}, where other machines can connect, so set"
                " BGERASER_PUBLIC_URL (the address callers use) and BGERASER_SECRET_KEY, or, to try it"
                " where nobody else can connect, BGERASER_DEVELOPMENT=true."
            )
        stripe_key = self.stripe_secret_key.get_secret_value() if self.stripe_secret_key is not None else ""
        if not self.is_development and not self.stripe_allow_test and not is_live_key(stripe_key):
            raise WrongSettings(
                "BGERASER_STRIPE_SECRET_KEY is a key of Stripe's test mode, in which everybody can pay with"
                " made-up cards, but BGERASER_PUBLIC_URL is public: set a live key, or, if this is meant,"
                " BGERASER_STRIPE_ALLOW_TEST=true."
            )
        if self.smtp_url is not None and self.public_url is None:
            raise WrongSettings(
                "BGERASER_SMTP_URL needs BGERASER_PUBLIC_URL, with which the links in mails begin."
            )
        if self.secret_key is not None or not self.is_development:
            _ = self.signing_secret

    def refuse_missing_packages(self) -> None:
        """Raises WrongSettings if a setting needs a library that is not installed."""
        if self.otlp_endpoint is not None and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
            raise WrongSettings(
                "BGERASER_OTLP_ENDPOINT needs packages that are not installed; install them with"
                ' pip install "bgeraser[telemetry]"'
            )

    def warnings(self, host: str) -> list[str]:
        """Warnings for the operator at each start on `host`, one sentence each."""
        found = []
        if self.is_development and not is_loopback(host):
            found.append(
                f"BGERASER_DEVELOPMENT=true: the server listens on {host or 'every address'} with the"
                " conveniences of development. Do not use it where others can connect."
            )
        known = [_PREFIX + name.upper() for name in type(self).model_fields]
        for name in sorted(os.environ):
            if name.startswith(_PREFIX) and name not in known:
                similar = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
                if similar:
                    found.append(f"{name} is not a setting; did you mean {similar[0]}?")
        return found

    @cached_property
    def is_development(self) -> bool:
        """Whether there is no public address, or a loopback one: then unsafe conveniences are allowed."""
        return self.public_url is None or is_loopback(urlsplit(self.public_url).hostname or "")

    def is_trusted_proxy(self, address: str) -> bool:
        """Whether `address` is a trusted proxy, so that its connections are from many callers."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(part == "*" or found in ip_network(part) for part in _listed(self.trusted_proxies))

    @property
    def cors_allowed_origins(self) -> frozenset[str]:
        """As browsers send them: in lower case, and without the usual port of the scheme."""
        usual = {"http": ":80", "https": ":443"}
        origins = [origin.lower() for origin in _listed(self.cors_origins)]
        return frozenset(origin.removesuffix(usual.get(origin.partition(":")[0], "")) for origin in origins)

    @property
    def models_path(self) -> Path:
        return self.models_dir or self.data_dir / "models"

    @property
    def generative(self) -> GenerativeConfig:
        return GenerativeConfig(
            inpaint_checkpoint=self.inpaint_checkpoint,
            inpaint_lora=self.inpaint_lora,
            inpaint_scheduler=self.inpaint_scheduler,
            inpaint_steps=self.inpaint_steps,
            inpaint_guidance=self.inpaint_guidance,
            inpaint_tiny_vae=self.inpaint_tiny_vae,
            inpaint_safety_checker=self.inpaint_safety_checker,
            allow_noncommercial=self.allow_noncommercial,
            sam_checkpoint=self.sam_checkpoint,
            setting_names=SettingNames(
                sam_checkpoint=f"{_PREFIX}SAM_CHECKPOINT",
                allow_noncommercial=f"{_PREFIX}ALLOW_NONCOMMERCIAL",
                worker_memory=f"{_PREFIX}WORKER_MEMORY_MB",
            ),
        )

    @property
    def database_address(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'bgeraser.db'}"

    @cached_property
    def signing_secret(self) -> str:
        """The secret; in development created once in the data directory, readable by its owner only."""
        if self.secret_key is not None:
            secret = self.secret_key.get_secret_value()
            if len(secret) < 32:
                raise MissingSecret("BGERASER_SECRET_KEY must have at least 32 characters")
            return secret
        if not self.is_development:
            raise MissingSecret(
                "BGERASER_SECRET_KEY is not set. Make one with:"
                " python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        return _secret_file(self.data_dir / "secret.key")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`, a name or an address without brackets."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # One of the packages that it is in.
        return False


def _begins_with(secret: SecretStr | None, *beginnings: str) -> bool:
    """Whether the secret has one of these prefixes. A blank secret counts as unset."""
    text = secret.get_secret_value().strip() if secret is not None else ""
    return not text or text.startswith(beginnings)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _name_of(place: tuple[int | str, ...]) -> str:
    """The variable, and the place in its JSON if it has one."""
    name = f"{_PREFIX}{str(place[0]).upper()}"
    return name if len(place) == 1 else f"{name}: {'.'.join(map(str, place[1:]))}"


def _sentence(message: str) -> str:
    """Pydantic's message as the rest of a sentence that begins with the variable's name."""
    own = message.removeprefix("Value error, ")
    return own.replace("Input should be", "must be", 1)


def _secret_file(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        # The file gets its name when it is complete. Of two processes starting at once, the first one wins.
        with suppress(FileExistsError):
            path.hardlink_to(unfinished)
        unfinished.unlink()
    return path.read_text().strip()
