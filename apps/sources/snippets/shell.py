"""A recipe as a command for bash or zsh, with curl and openssl."""

from __future__ import annotations

import shlex

from apps.sources.snippets.recipe import Digest, Encoded, Hmac, Parts, Recipe, Value, Var

_TIMES = {
    "seconds": "date +%s",
    "milliseconds": "echo $(date +%s)000",
    "iso8601": "date -u +%Y-%m-%dT%H:%M:%SZ",
    "http_date": "LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT'",
    "expires": "echo $(($(date +%s) + 300))",
}
_BASE64 = "openssl base64 -A"
_HEX = "od -An -v -tx1 | tr -d ' \\n'"
_ENCODE = {
    "hex": _HEX,
    "hex_any_case": _HEX,
    "base64": _BASE64,
    "base64url": f"{_BASE64} | tr '+/' '-_'",
    "base64url_nopad": f"{_BASE64} | tr '+/' '-_' | tr -d '='",
    "percent": f"{_HEX} | sed 's/../%&/g'",
}
_KEYS = {
    "hex": '"$secret"',
    "base64": f'"$(printf %s "$secret" | {_BASE64} -d | {_HEX})"',
    "whsec": f'"$(printf %s "${{secret#whsec_}}" | {_BASE64} -d | {_HEX})"',
}


def write_shell(recipe: Recipe, secret: str | None) -> str:
    """One command in parentheses, so that a terminal reads all of it before it asks."""
    lines = ["(", *_get_secret(secret)]
    lines.append("event_id=test_$(openssl rand -hex 6)")
    lines += [f"{unit}=$({_TIMES[unit]})" for unit in recipe.times]
    lines += [f"{name}={_write(value)}" for name, value in recipe.steps]
    headers = [f"-H {_quote((f'{name}: ', *value))}" for name, value in recipe.headers]
    options = " \\\n  ".join(['"$url"', *headers, '--data-binary "$body"'])
    return "\n".join([*lines, f"curl -sS -w '\\n%{{http_code}}\\n' {options}", ")"])


def _get_secret(secret: str | None) -> list[str]:
    if secret is not None:
        return [f"secret={shlex.quote(secret)}"]
    return [
        "secret=$SECRET",
        "[ -n \"$secret\" ] || { printf 'Signing secret: '; read -rs secret; echo; }",
    ]


def _write(value: Value) -> str:
    if isinstance(value, Hmac):
        key = _KEYS.get(value.key_form)
        mac = f"-mac HMAC -macopt hexkey:{key}" if key else '-hmac "$secret"'
        hashed = f"openssl dgst -{value.algorithm} {mac} -binary | {_ENCODE[value.encoding]}"
        return f"$(printf %s {_quote(value.message)} | {hashed})"
    if isinstance(value, Encoded):
        return f"$(printf %s {_quote(value.text)} | {_ENCODE[value.encoding]})"
    if isinstance(value, Digest):
        return f"$(printf %s {_quote(value.text)} | openssl dgst -sha256 -binary | {_BASE64})"
    return _quote(value)


def _quote(parts: Parts) -> str:
    """In double quotes where nothing in the text means anything to a shell there."""
    literals = "".join(part for part in parts if isinstance(part, str))
    if not set('"$`\\!') & set(literals):
        texts = (f"${{{part.name}}}" if isinstance(part, Var) else part for part in parts)
        return f'"{"".join(texts)}"'
    return "".join(
        f'"${part.name}"' if isinstance(part, Var) else shlex.quote(part) for part in parts
    )
