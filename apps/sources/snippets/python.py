"""A recipe as a Python program that needs the standard library only."""

from __future__ import annotations

from apps.sources.snippets.recipe import Digest, Encoded, Hmac, Parts, Recipe, Value, Var

_TIMES = {
    "seconds": "str(int(time.time()))",
    "milliseconds": "str(int(time.time() * 1000))",
    "iso8601": 'time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())',
    "http_date": "email.utils.formatdate(usegmt=True)",
    "expires": "str(int(time.time()) + 300)",
}
_ENCODE = {
    "hex": "{}.hex()",
    "hex_any_case": "{}.hex()",
    "base64": "base64.b64encode({}).decode()",
    "base64url": "base64.urlsafe_b64encode({}).decode()",
    "percent": "urllib.parse.quote({}, safe='')",
    "base64url_nopad": 'base64.urlsafe_b64encode({}).decode().rstrip("=")',
}
_KEYS = {
    "text": "secret.encode()",
    "nfkd": 'unicodedata.normalize("NFKD", secret).encode()',
    "hex": "bytes.fromhex(secret)",
    "base64": "base64.b64decode(secret)",
    "whsec": 'base64.b64decode(secret.removeprefix("whsec_"))',
}
_MODULES = (
    "base64",
    "email.utils",
    "hashlib",
    "hmac",
    "os",
    "time",
    "unicodedata",
    "urllib.parse",
    "uuid",
)


def write_python(recipe: Recipe, secret: str | None) -> str:
    """A whole file; without `secret` it asks for it, unless SECRET is set."""
    asked = 'os.environ.get("SECRET") or getpass("Signing secret: ")'
    lines = [
        f"secret = {asked if secret is None else repr(secret)}",
        'event_id = "test_" + uuid.uuid4().hex[:12]',
        *(f"{unit} = {_TIMES[unit]}" for unit in recipe.times),
        *(f"{name} = {_write(value)}" for name, value in recipe.steps),
        "headers = {",
        *(f"    {name!r}: {_join(value)}," for name, value in recipe.headers),
        "}",
        "request = urllib.request.Request(url, body.encode(), headers)",
        "try:",
        "    answer = urllib.request.urlopen(request)",
        "except urllib.error.HTTPError as error:",
        "    answer = error",
        "print(answer.status, answer.read().decode())",
    ]
    text = "\n".join(lines)
    modules = [name for name in _MODULES if f"{name}." in text]
    imports = [f"import {name}" for name in (*modules, "urllib.error", "urllib.request")]
    imports += ["from getpass import getpass"] if secret is None else []
    return "\n".join([*imports, "", text])


def _write(value: Value) -> str:
    if isinstance(value, Hmac):
        key, message = _KEYS[value.key_form], _join(value.message)
        return _ENCODE[value.encoding].format(
            f'hmac.digest({key}, {_encode(message)}, "{value.algorithm}")'
        )
    if isinstance(value, Encoded):
        return _ENCODE[value.encoding].format(_encode(_join(value.text)))
    if isinstance(value, Digest):
        hashed = f"hashlib.sha256({_encode(_join(value.text))}).digest()"
        return _ENCODE["base64"].format(hashed)
    return _join(value)


def _encode(text: str) -> str:
    return f"{text}.encode()" if text.isidentifier() else f"({text}).encode()"


def _join(parts: Parts) -> str:
    return " + ".join(part.name if isinstance(part, Var) else repr(part) for part in parts)
