"""Providers beside the one of the settings, and what is known of models: price, room, limits."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from apps.vault.fields import EncryptedTextField

SETTINGS_SLUG = "settings"  # how people write the provider of the settings; no row has it
DEFAULT_PORTS = {"http": 80, "https": 443}


def get_origin(url: str) -> str:
    """`https://api.example.com:443`: whoever is there gets the key."""
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def is_local(base_url: str) -> bool:
    """Whether the address names this machine's loopback."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Provider(models.Model):
    """An OpenAI-compatible server. Its key is sealed together with the origin that it is for.

    So neither a mistake nor a hand in the database can send it elsewhere: `get_key` gives it for
    that origin only.
    """

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    base_url = models.CharField("base URL", max_length=500)
    sealed_key = EncryptedTextField(blank=True, default="")  # "<origin> <key>"
    in_background = models.BooleanField(
        "background responses",
        default=False,
        db_default=False,
        help_text="Each call is handed over and asked for by its id (POST /v1/responses, as OpenAI "
        "has it): a crash in between pays nothing twice and loses no answer. The provider then "
        "keeps prompt and answer for its own time. One without this refuses every call.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="provider_slug_not_reserved",
                condition=~Q(slug=SETTINGS_SLUG),
                violation_error_message=f"“{SETTINGS_SLUG}” is the provider of the settings.",
            ),
            models.CheckConstraint(name="provider_has_address", condition=~Q(base_url="")),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def has_key(self) -> bool:
        return bool(self.sealed_key)

    @property
    def key_is_elsewhere(self) -> bool:
        """Whether a key is stored that was given for another origin."""
        origin = self.sealed_key.partition(" ")[0]
        return self.has_key and origin != get_origin(self.base_url)

    def get_key(self) -> str:
        """The key for where `base_url` leads; empty where there is none for it."""
        return "" if self.key_is_elsewhere else self.sealed_key.partition(" ")[2]

    def set_key(self, key: str) -> None:
        """Seal it for where `base_url` leads now; an empty one is forgotten."""
        self.sealed_key = f"{get_origin(self.base_url)} {key}" if key else ""


class ProviderModel(models.Model):
    """A model of a provider (none: that of the settings). What is not said here has its default."""

    provider = models.ForeignKey(
        Provider,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="models",
        help_text="Empty: the provider of the settings.",
    )
    name = models.CharField(max_length=120, help_text="As the provider calls it.")
    input_price = models.DecimalField(
        max_digits=12,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text="US dollars for a million tokens of the prompt. Both empty: the known default.",
    )
    output_price = models.DecimalField(
        max_digits=12,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text="US dollars for a million tokens of the answer.",
    )
    context_tokens = models.PositiveIntegerField(
        "context length",
        default=0,
        help_text="Tokens of prompt and answer together. 0: not known, nothing is refused.",
    )
    requests_per_minute = models.PositiveIntegerField(
        "calls a minute", default=0, help_text="0: no limit here."
    )
    tokens_per_minute = models.PositiveIntegerField(default=0, help_text="0: no limit here.")
    concurrency = models.PositiveIntegerField(
        "calls at once", default=0, help_text="0: no limit here."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["provider__name", "name"]
        verbose_name = "model"
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "name"],
                condition=Q(provider__isnull=False),
                name="provider_model_once",
                violation_error_message="This provider has a model of that name.",
            ),
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(provider=None),
                name="settings_model_once",
                violation_error_message="The provider of the settings has a model of that name.",
            ),
            models.CheckConstraint(
                name="provider_model_both_prices",
                condition=Q(input_price=None, output_price=None)
                | Q(
                    # A comparison with NULL is neither true nor false, which a check lets pass.
                    input_price__isnull=False,
                    output_price__isnull=False,
                    input_price__gte=Decimal(0),
                    output_price__gte=Decimal(0),
                ),
                violation_error_message="Give both prices, 0 or more, or none.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider.slug if self.provider else SETTINGS_SLUG}/{self.name}"

    @property
    def prices(self) -> tuple[Decimal, Decimal] | None:
        """Of a million tokens in and out; None where the default holds."""
        if self.input_price is None or self.output_price is None:
            return None
        return self.input_price, self.output_price


def find_model(provider: str, name: str) -> ProviderModel | None:
    """What is known of a model; `provider` is a slug, "" that of the settings."""
    at = Q(provider__slug=provider) if provider else Q(provider=None)
    return ProviderModel.objects.filter(at, name=name).first()
