"""The provider: the only module that imports openai. One request in, one answer or error out.

What matters here is what an error says about money. A refusal with a status was not paid (unless it
says that somebody in between stopped waiting), nor was anything by a connection that never came up.
Everything else after the request left is unknown.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import openai
from django.conf import settings

from apps.llm.checked_connections import drop_strange_headers, make_checked_transport
from apps.llm.limit_headers import NOTHING_SEEN, SeenLimits, read_limit_headers
from apps.llm.provider_models import is_local
from workers.contracts import Verdict

MAX_RESPONSE_BYTES = 4_000_000
KEEPALIVE_S = 3.0  # below the 5 s after which common servers close an idle connection under us
RATE_LIMIT_WAIT_S = 5.0
TOO_LATE_WAIT_S = 1.0
FIND_TIMEOUT_S = 8.0  # somebody waits for the page
UNANSWERED = "The provider did not answer the question."
RETRYABLE_STATUSES = {409, 425}
# Somebody in between stopped waiting, and the model may go on, and be paid: 504 of any gateway, 524
# of Cloudflare's, 408 of LiteLLM and Bedrock, 499 where somebody's caller, not us, hung up.
GAVE_UP_STATUSES = {408, 499, 504, 524}
NOT_SENT = (
    *(httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout),
    *(httpx2.ProxyError, httpx2.UnsupportedProtocol),
)

_send_before: ContextVar[float | None] = ContextVar("send_before", default=None)
_clients: dict[tuple[Endpoint, float], openai.OpenAI] = {}
_clients_lock = threading.Lock()
Route = dict[str, Any]  # {provider, model, passed_over: [{provider, model, code}]}


class LLMError(Exception):
    """A call that gave no usable answer. `str()` is a sentence; it never quotes the provider.

    `verdict` is what the workflow does with it, `retry_after_s` when (None: its own backoff),
    `http_status` the provider's answer where there was one.
    """

    code = "llm_failed"
    permanent = False
    verdict = Verdict.FAILED
    message = "The model could not be asked."
    route: Route | None = None  # who was asked, and who was passed over before

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        retry_after_s: float | None = None,
        http_status: int | None = None,
        seen: SeenLimits = NOTHING_SEEN,
    ) -> None:
        super().__init__(message or self.message)
        self.code = code or self.code
        self.retry_after_s = retry_after_s
        self.http_status = http_status
        self.seen = seen


class RateLimited(LLMError):
    """429: not paid; waiting uses no attempt. `retry_after_s` is always set."""

    code = "llm_rate_limited"
    verdict = Verdict.WAIT
    message = "The provider asks to wait (HTTP 429)."


class CallTooLate(LLMError):
    """It was not sent: by now somebody else may have sent it. Uses no attempt."""

    code = "llm_call_too_late"
    verdict = Verdict.WAIT
    message = "The worker stood still before the request was sent: it was not sent."


class ProviderRefused(LLMError):
    """Another 4xx or a redirect: not paid, and would be refused again."""

    code = "llm_refused"
    permanent = True
    verdict = Verdict.NEVER


class NotConfigured(ProviderRefused):
    """Nobody has said where to ask: nothing leaves, least of all to the client's own default."""

    code = "llm_not_configured"
    message = "No LLM is configured: set OPENAI_API_KEY or OPENAI_BASE_URL, then retry."


class ProviderFailed(LLMError):
    """Another 5xx, 409 or 425: a definite refusal, worth another try."""

    code = "llm_provider_failed"


class ProviderUnreachable(LLMError):
    """No connection came up: nothing was sent, nothing paid."""

    code = "llm_unreachable"
    message = "The provider can't be reached. Is its address right?"


class AddressRefused(ProviderRefused):
    """The address that was typed for the provider leads where nothing is sent to."""

    code = "llm_address_refused"


class OutcomeUnknown(LLMError):
    """The request left and no whole answer came back: nobody knows whether it was paid."""

    code = "llm_outcome_unknown"
    permanent = True
    verdict = Verdict.HELD
    message = (
        "The request was sent and no whole answer came back: it may have been paid. "
        "A retry asks the model again."
    )


class GatewayGaveUp(OutcomeUnknown):
    """408, 499, 504 or 524: between us and the model somebody stopped waiting for it."""

    code = "llm_gateway_timeout"

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        super().__init__(
            f"A gateway stopped waiting for the model (HTTP {status}), which may have answered and "
            "been paid all the same. A retry asks the model again.",
            retry_after_s=retry_after_s,
            http_status=status,
        )


@dataclass(frozen=True)
class Endpoint:
    """Where a request goes, and with which key. `name` is how the ledger calls the provider.

    An empty `base_url` is the client's own default, OpenAI.
    """

    name: str
    base_url: str
    api_key: str = field(repr=False)
    in_background: bool = False  # whether it is asked by background responses

    @property
    def is_typed(self) -> bool:
        """Whether a person typed the address, and not who runs the machine."""
        return bool(self.name)


@dataclass(frozen=True)
class Completion:
    """What the provider answered, paid for.

    `problem` is a machine word where there is no answer to read (empty, refused, truncated, too
    large); `text` is then what there is of it.
    """

    text: str
    problem: str
    input_tokens: int
    output_tokens: int
    request_id: str
    seen: SeenLimits = NOTHING_SEEN  # what the provider said about its limits


def complete(
    endpoint: Endpoint,
    body: dict[str, Any],
    mark: dict[str, str] | None = None,
    send_before: float | None = None,
) -> Completion:
    """Send exactly one request. Raises `LLMError`; blocks for about LLM_TIMEOUT_S at most.

    Where LLM_STORE_COMPLETIONS is on, the provider keeps its answer under `mark`. From the Unix
    time `send_before` on nothing leaves (`CallTooLate`): a process that was paused must not send
    what another has meanwhile taken over.
    """
    if mark and settings.LLM_STORE_COMPLETIONS:
        body = body | {"store": True, "metadata": mark}
    completions = get_client(endpoint).chat.completions
    deadline = time.monotonic() + settings.LLM_TIMEOUT_S
    with (
        sending(send_before),
        completions.with_streaming_response.create(**body) as response,
    ):
        request_id = response.headers.get("x-request-id", "")
        seen = read_limit_headers(response.headers)
        raw = read_body(response, deadline)
    if raw is None:
        return Completion("", "answer_too_large", 0, 0, request_id[:120], seen)
    return replace(parse_completion(raw, request_id[:120]), seen=seen)


@contextmanager
def sending(send_before: float | None = None) -> Iterator[None]:
    """Around one request and its answer: nothing leaves from the Unix time `send_before` on, and
    what the client raises becomes an `LLMError`."""
    _send_before.set(send_before)
    try:
        yield
    except openai.APIConnectionError as error:
        raise _translate(error.__cause__) from None
    except httpx2.HTTPError as error:
        raise _translate(error) from None


def find_kept(endpoint: Endpoint, mark: dict[str, str]) -> Completion | None:
    """The newest answer that the provider keeps under `mark`; costs nothing. Raises `LLMError`."""
    completions = get_client(endpoint).chat.completions
    deadline = time.monotonic() + FIND_TIMEOUT_S
    try:
        with (
            sending(),
            completions.with_streaming_response.list(
                metadata=mark, order="desc", limit=1, timeout=FIND_TIMEOUT_S
            ) as response,
        ):
            raw = read_body(response, deadline)
    except (ProviderUnreachable, OutcomeUnknown):
        raise ProviderUnreachable(UNANSWERED) from None
    try:
        found = json.loads(raw or b"")["data"]
        if not found:
            return None
        return parse_completion(json.dumps(found[0]).encode(), str(found[0]["id"])[:120])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OutcomeUnknown):
        raise ProviderFailed("The provider's list of answers can't be read.") from None


def list_models(endpoint: Endpoint) -> list[str]:
    """The names of the models that the provider says it has: one GET. Raises `LLMError`."""
    models = get_client(endpoint).models
    deadline = time.monotonic() + FIND_TIMEOUT_S
    try:
        with (
            sending(),
            models.with_streaming_response.list(timeout=FIND_TIMEOUT_S) as response,
        ):
            raw = read_body(response, deadline)
    except OutcomeUnknown:
        # A question that costs nothing has no outcome to worry about.
        raise ProviderUnreachable(UNANSWERED) from None
    try:
        return [str(model["id"]) for model in json.loads(raw or b"")["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ProviderFailed("What it answers is no list of models.") from None


def get_client(endpoint: Endpoint) -> openai.OpenAI:
    """This process's client for the endpoint: it keeps connections open."""
    key = (endpoint, settings.LLM_TIMEOUT_S)
    with _clients_lock:
        if key not in _clients:
            _clients[key] = _make_client(*key)
        return _clients[key]


def close_clients() -> None:
    """Close every open connection: for the end of a process."""
    with _clients_lock:
        for client in _clients.values():
            client.close()
        _clients.clear()


def _make_client(endpoint: Endpoint, timeout_s: float) -> openai.OpenAI:
    limits = httpx2.Limits(
        max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEPALIVE_S
    )
    key = endpoint.api_key or "none"  # local servers want no key, the client wants one
    return openai.OpenAI(
        api_key=key,
        # Wins over OPENAI_CUSTOM_HEADERS, which is for the provider of the settings.
        default_headers={"Authorization": f"Bearer {key}"} if endpoint.is_typed else None,
        base_url=endpoint.base_url or None,
        max_retries=0,  # the client would send, and pay, three times by itself
        timeout=timeout_s,
        http_client=openai.DefaultHttpxClient(
            limits=limits,
            transport=(
                make_checked_transport(limits, AddressRefused) if endpoint.is_typed else None
            ),
            # A model on this machine is no proxy's business: the prompt must not leave it.
            trust_env=not (endpoint.is_typed or is_local(endpoint.base_url)),
            follow_redirects=False,  # a redirect would send the request a second time
            timeout=timeout_s,
            event_hooks={
                "request": [
                    _watch_the_clock,
                    *([drop_strange_headers] if endpoint.is_typed else []),
                ],
                "response": [_check_status],
            },
        ),
    )


def _watch_the_clock(request: httpx2.Request) -> None:
    # Asked once the connection stands, right before the first byte: opening one takes time too.
    send_before = _send_before.get()

    def check(step: str, _: Any) -> None:
        begins = step.endswith("send_request_headers.started")
        if begins and send_before is not None and time.time() >= send_before:
            raise CallTooLate(retry_after_s=TOO_LATE_WAIT_S)

    request.extensions["trace"] = check


def _check_status(response: httpx2.Response) -> None:
    # A hook, so that the body of a refusal is never read: it may quote the prompt, or never end.
    status = response.status_code
    if status < 300:
        return
    seen = read_limit_headers(response.headers)
    retry_after_s = seen.retry_after_s
    if status == 429:
        wait_s = RATE_LIMIT_WAIT_S if retry_after_s is None else retry_after_s
        raise RateLimited(retry_after_s=wait_s, http_status=status, seen=seen)
    if status in GAVE_UP_STATUSES:
        raise GatewayGaveUp(status, retry_after_s)
    message = f"The provider refused the request (HTTP {status})."
    if status >= 500 or status in RETRYABLE_STATUSES:
        raise ProviderFailed(message, retry_after_s=retry_after_s, http_status=status)
    raise ProviderRefused(message, http_status=status)


def _translate(cause: BaseException | None) -> LLMError:
    return ProviderUnreachable() if isinstance(cause, NOT_SENT) else OutcomeUnknown()


def read_body(response: Any, deadline: float) -> bytes | None:
    """The body; None if it is too large. A body that drips past the deadline is unknown."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > MAX_RESPONSE_BYTES:
            return None
        if time.monotonic() > deadline:
            raise OutcomeUnknown
        chunks.append(chunk)
    return b"".join(chunks)


def parse_completion(raw: bytes, request_id: str) -> Completion:
    """A chat completion as JSON. Raises `OutcomeUnknown` where it is none: it may be paid."""
    try:
        document = json.loads(raw)
        choices = document["choices"]
        usage = document.get("usage") or {}
        tokens = (count(usage, "prompt_tokens"), count(usage, "completion_tokens"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise OutcomeUnknown(code="llm_answer_unreadable") from None
    text, problem = _read_choice(choices[0] if isinstance(choices, list) and choices else None)
    return Completion(text, problem, *tokens, request_id)


def count(usage: Any, name: str) -> int:
    """Tokens by their name in what a provider calls usage; 0 where it does not tell."""
    value = usage.get(name)
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def _read_choice(choice: Any) -> tuple[str, str]:
    """Text and problem of the first choice. Tool calls are never looked at."""
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    text = content if isinstance(content, str) else ""
    if not isinstance(message, dict):
        return "", "answer_empty"
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        return text, "answer_refused"
    if choice.get("finish_reason") == "length":
        return text, "answer_truncated"
    return text, "" if text else "answer_empty"
