"""A recipe as a JavaScript module for Node 18 or newer, without packages."""

from __future__ import annotations

import json
import re

from apps.sources.snippets.recipe import Digest, Encoded, Hmac, Parts, Recipe, Value, Var

_NOW = "new Date()"
_TIMES = {
    "seconds": "String(Math.floor(Date.now() / 1000))",
    "milliseconds": "String(Date.now())",
    "iso8601": f'{_NOW}.toISOString().replace(/\\.\\d+/, "")',
    "http_date": f"{_NOW}.toUTCString()",
    "expires": "String(Math.floor(Date.now() / 1000) + 300)",
}
_DIGEST = {
    "hex": '.digest("hex")',
    "hex_any_case": '.digest("hex")',
    "base64": '.digest("base64")',
    "base64url": '.digest("base64").replaceAll("+", "-").replaceAll("/", "_")',
    "base64url_nopad": '.digest("base64url")',
}
_KEYS = {
    "text": "secret",
    "nfkd": 'secret.normalize("NFKD")',
    "hex": 'Buffer.from(secret, "hex")',
    "base64": 'Buffer.from(secret, "base64")',
    "whsec": 'Buffer.from(secret.replace(/^whsec_/, ""), "base64")',
}


def write_javascript(recipe: Recipe, secret: str | None) -> str:
    """A whole module; without `secret` it asks for it, unless SECRET is set."""
    lines = [
        *_get_secret(secret),
        'const eventId = "test_" + randomUUID().slice(0, 8);',
        *(f"const {_name(unit)} = {_TIMES[unit]};" for unit in recipe.times),
        *(f"const {_name(name)} = {_write(value)};" for name, value in recipe.steps),
        "const headers = {",
        *(f"  {json.dumps(name)}: {_join(value)}," for name, value in recipe.headers),
        "};",
        'const answer = await fetch(url, { method: "POST", headers, body });',
        "console.log(answer.status, await answer.text());",
    ]
    text = "\n".join(lines)
    made = [name for name in ("createHash", "createHmac", "randomUUID") if f"{name}(" in text]
    imports = [f'import {{ {", ".join(made)} }} from "node:crypto";']
    if secret is None:
        imports.append('import { createInterface } from "node:readline/promises";')
    return "\n".join([*imports, "", text])


def _get_secret(secret: str | None) -> list[str]:
    if secret is not None:
        return [f"const secret = {json.dumps(secret)};"]
    return [
        "const terminal = createInterface({ input: process.stdin, output: process.stdout });",
        'const secret = process.env.SECRET || (await terminal.question("Signing secret: "));',
        "terminal.close();",
    ]


def _write(value: Value) -> str:
    if isinstance(value, Hmac):
        key, digest = _KEYS[value.key_form], _DIGEST[value.encoding]
        return f'createHmac("{value.algorithm}", {key}).update({_join(value.message)}){digest}'
    if isinstance(value, Encoded) and value.encoding == "percent":
        return f"encodeURIComponent({_join(value.text)})"
    if isinstance(value, Encoded):
        encoding = value.encoding.removesuffix("_nopad")
        return f'Buffer.from({_join(value.text)}).toString("{encoding}")'
    if isinstance(value, Digest):
        return f'createHash("sha256").update({_join(value.text)}){_DIGEST["base64"]}'
    return _join(value)


def _join(parts: Parts) -> str:
    if len(parts) == 1 and isinstance(parts[0], Var):
        return _name(parts[0].name)
    texts = (
        f"${{{_name(part.name)}}}" if isinstance(part, Var) else _escape(part) for part in parts
    )
    return f"`{''.join(texts)}`"


def _escape(literal: str) -> str:
    return re.sub(r"([`\\]|\$(?=\{))", r"\\\1", literal)


def _name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
