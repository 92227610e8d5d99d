"""GitLab: a secret token sent as it is, or (whsec_…) a signing token of Standard Webhooks."""

from __future__ import annotations

from dataclasses import replace

from apps.sources.schemes import shared_token, template
from apps.sources.schemes.base import Request, SignatureRefused, Verified, Verifier
from apps.sources.schemes.body import read_body
from apps.sources.schemes.family import Family, Outgoing, Setup, refuse_without_secret
from apps.sources.schemes.options import Options
from apps.sources.schemes.stamp import TOLERANCE_FIELD

_SIGNING = {
    "header": "webhook-signature",
    "separator": " ",
    "prefix": "v1,",
    "signed": "{id}.{timestamp}.{body}",
    "encoding": "base64",
    "key_form": "whsec",
    "timestamp_header": "webhook-timestamp",
    "id_header": "webhook-id",
}
_TOKEN = Options({"header": "X-Gitlab-Token", "prefix": "", "parameter": ""})


class GitLabVerifier(Verifier):
    """Each secret says by its form which of the two it is."""

    def __init__(self, setup: Setup) -> None:
        self._places: dict[bool, list[int]] = {True: [], False: []}
        for place, secret in enumerate(setup.secrets):
            self._places[_is_signing(secret)].append(place)
        self._signing = template.TemplateVerifier(
            replace(setup, options=_signing(setup.options), secrets=self._of(setup, True))
        )
        self._token = shared_token.TokenVerifier(
            replace(setup, options=_TOKEN, secrets=self._of(setup, False))
        )

    def _of(self, setup: Setup, signing: bool) -> list[str]:
        return [setup.secrets[place] for place in self._places[signing]]

    def verify(self, request: Request) -> Verified:
        refuse_without_secret(self._places[True] or self._places[False])
        verified = self._verified(request)
        if verified.event_type == "System Hook":
            # All system hooks share one header; the body says which it is.
            name = str((read_body(request) or {}).get("event_name") or "")
            verified.event_type = f"System Hook {name}".strip()
        return verified

    def _verified(self, request: Request) -> Verified:
        if not self._places[True]:
            return self._checked(self._token, False, request)
        try:
            return self._checked(self._signing, True, request)
        except SignatureRefused:
            if not self._places[False]:
                raise
        return self._checked(self._token, False, request)

    def _checked(self, verifier: Verifier, signing: bool, request: Request) -> Verified:
        verified = verifier.verify(request)
        verified.secret_index = self._places[signing][verified.secret_index]
        return verified


def _is_signing(secret: str) -> bool:
    return secret.startswith("whsec_")


def _signing(options: Options) -> Options:
    defaults = {field.name: field.default for field in template.FIELDS}
    return Options(defaults | _SIGNING | {"tolerance_s": options.number("tolerance_s")})


def sign(options: Options, event: Outgoing) -> dict[str, str]:
    if _is_signing(event.secret):
        return template.sign(_signing(options), event)
    return shared_token.sign(_TOKEN, event)


FAMILY = Family("gitlab", (TOLERANCE_FIELD,), GitLabVerifier, sign)
