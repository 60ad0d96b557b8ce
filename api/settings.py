"""The operator's settings: environment variables `BGERASER_*` or `.env`. Only `api` and `web` read them.

Every field stands in `.env.example` with its unit and default; a test compares the two.
"""

import os
import secrets
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from ml.generative import AUTO, DEFAULT_INPAINTING, GenerativeConfig, Scheduler


class MissingSecret(Exception):
    """`BGERASER_SECRET_KEY` is needed as soon as the server has a public address."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="BGERASER_", env_file=".env", extra="ignore", frozen=True)

    data_dir: Path = Field(Path("data"), description="Database, pictures, checkpoints and secret lie here.")
    models_dir: Path | None = Field(None, description="Checkpoints; default: models in the data directory.")
    database_url: str | None = Field(None, description="Default: SQLite in the data directory.")
    storage_url: str | None = Field(None, description="file:///…; default: images in the data directory.")
    public_url: str | None = Field(None, description="Address callers use; signed URLs begin with it.")
    secret_key: SecretStr | None = Field(None, description="Signs result URLs; 32 characters or more.")
    secret_key_previous: SecretStr | None = Field(None, description="A retired key that is still accepted.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="cuda and mps fail loudly if there is none."
    )
    workers: int | None = Field(
        None, ge=1, le=64, description="Worker processes; default: one a core and 2 GiB, at least 2."
    )
    worker_memory_mb: int = Field(4096, ge=512, description="MiB a worker may use before it is replaced.")
    queue_size: int = Field(256, ge=1, description="Calls that may wait for a worker.")
    body_memory_mb: int = Field(
        1024, ge=128, description="MiB of memory for uploads that arrive or are being worked on."
    )
    call_timeout_seconds: float = Field(300.0, gt=0, description="A call is stopped after this many seconds.")
    retention_hours: int = Field(
        24, ge=1, description="Uploads and results live this long after their last use."
    )
    account_storage_mb: int = Field(2048, ge=1, description="MiB of stored pictures an account may have.")
    inpaint_checkpoint: str = Field(
        DEFAULT_INPAINTING, description="What follows prompts: a checkpoint's name, a directory, or a hub id."
    )
    inpaint_lora: str = Field(
        AUTO, description="LoRA for few steps: auto (the table's, on a processor), none, or a .safetensors."
    )
    inpaint_tiny_vae: str = Field(
        AUTO,
        description="Quick autoencoder: auto (the table's, on a processor), none, a file or a directory.",
    )
    inpaint_scheduler: Scheduler = Field("auto", description="own: the checkpoint's; auto: lcm with a LoRA.")
    inpaint_steps: int | None = Field(
        None, ge=1, le=150, description="Steps where a call names none; default: 4 with few-step, else 25."
    )
    inpaint_guidance: float | None = Field(
        None, ge=0, le=30, description="Guidance where a call names none; default: 1 (none) or 7.5."
    )
    inpaint_safety_checker: bool = Field(
        False, description="Refuse what the checkpoint's own safety checker objects to."
    )
    sam_checkpoint: Path | None = Field(None, description="A Segment Anything .pth, asked for as model=sam.")
    allow_noncommercial: bool = Field(
        False, description="Serve checkpoints whose licence forbids commercial use."
    )
    models_mirror: Path | None = Field(
        None, description="A folder of files that models pull takes instead of downloading."
    )
    smtp_url: SecretStr | None = Field(None, description="smtp://user:password@host:587 or smtps://…:465.")
    mail_from: str | None = Field(
        None, description="Sender of our mails; default: bgeraser@ the address's host."
    )
    oauth_google_client_id: str | None = Field(None, description="Signing in with Google.")
    oauth_google_client_secret: SecretStr | None = Field(None, description="Its secret.")
    oauth_github_client_id: str | None = Field(None, description="Signing in with GitHub.")
    oauth_github_client_secret: SecretStr | None = Field(None, description="Its secret.")
    oauth_github_url: str = Field("https://github.com", description="Another address: GitHub Enterprise.")
    oauth_oidc_issuer: str | None = Field(None, description="Address of any other OpenID provider.")
    oauth_oidc_client_id: str | None = Field(None, description="Our client id there.")
    oauth_oidc_client_secret: SecretStr | None = Field(None, description="Its secret.")
    oauth_oidc_name: str = Field("single sign-on", description="What its button says: Continue with …")
    trusted_proxies: str = Field("127.0.0.1", description="Addresses whose X-Forwarded-For is believed.")
    stripe_secret_key: SecretStr | None = Field(None, description="Unset: no plan can be bought here.")
    stripe_webhook_secret: SecretStr | None = Field(None, description="Unset: /stripe/webhook is 404.")
    stripe_webhook_secret_previous: SecretStr | None = Field(
        None, description="Accepted too while a new one is brought in."
    )
    stripe_api_base: str | None = Field(None, description="Another address of the API: the simulator's.")
    stripe_automatic_tax: bool = Field(False, description="Stripe works out taxes at the checkout.")
    stripe_promotion_codes: bool = Field(False, description="The checkout asks for a promotion code.")
    stripe_trial_days: int = Field(
        0, ge=0, le=365, description="A first subscription begins with so many days for nothing."
    )
    metrics_token: SecretStr | None = Field(None, description="Bearer token of /metrics; unset: 404.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")

    @cached_property
    def is_development(self) -> bool:
        """No public address, or one of this machine: conveniences are allowed that a server must not have."""
        if self.public_url is None:
            return True
        host = urlsplit(self.public_url).hostname or ""
        if host == "localhost":
            return True
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return False

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
        )

    @property
    def database_address(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'bgeraser.db'}"

    @cached_property
    def signing_secret(self) -> str:
        """The secret; in development made once and kept in the data directory, readable by its owner only."""
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


def _secret_file(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Exclusive creation: of two processes starting at once, one writes and the other reads.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    secret = secrets.token_urlsafe(48)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
    return secret
