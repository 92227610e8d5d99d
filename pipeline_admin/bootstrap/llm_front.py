"""What stands before the local model's server: it chooses labels and passes the rest through.

A request whose schema has a property with a list of labels, and whose last message holds data of
an event, has these labels chosen first (`label_choice`); the server then writes the rest of the
answer around them. Every other request is passed on as it came.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipeline_admin.bootstrap.label_choice import (
    Chooser,
    find_labels,
    read_question,
    set_labels,
)

COMPLETIONS = ("/v1/chat/completions", "/chat/completions")
TIMEOUT_S = 600
LIKELY_TOKENS = 1000  # asked for at once; a rarer one by itself
FORCE = 1000.0
PASSED_ON = ("Content-Type", "Authorization", "Accept")


class NotScored(Exception):
    """The server did not answer a question about a label."""


class ModelServer:
    """The server behind, at 127.0.0.1:`port`."""

    def __init__(self, port: int) -> None:
        self.port = port

    def tokenize(self, text: str) -> list[int]:
        asked = {"content": text, "add_special": False, "parse_special": True}
        return list(self._ask("/tokenize", asked)["tokens"])

    def fill_template(self, messages: list[dict[str, Any]]) -> str:
        return str(self._ask("/apply-template", {"messages": messages})["prompt"])

    def get_logprobs(self, prompt: list[int], tokens: Sequence[int]) -> dict[int, float]:
        """The logarithm of each token's probability to come next. Raises NotScored."""
        first = self._predict(prompt, n_probs=LIKELY_TOKENS)
        found = {each["id"]: float(each["logprob"]) for each in first["top_logprobs"]}
        for token in set(tokens) - set(found):
            forced = self._predict(prompt, n_probs=1, logit_bias=[[token, FORCE]])
            if forced["id"] != token:
                raise NotScored
            found[token] = float(forced["logprob"])  # the one from before the bias
        return {token: found[token] for token in tokens}

    def _predict(self, prompt: list[int], **options: Any) -> dict[str, Any]:
        asked = {
            "prompt": prompt,
            "n_predict": 1,
            "temperature": 0,
            "samplers": ["temperature"],
            "cache_prompt": True,
            **options,
        }
        return dict(self._ask("/completion", asked)["completion_probabilities"][0])

    def _ask(self, path: str, document: dict[str, Any]) -> Any:
        body = json.dumps(document).encode()
        connection, answer = self.send("POST", path, body, {"Content-Type": "application/json"})
        try:
            if answer.status != http.client.OK:
                raise NotScored
            return json.load(answer)
        finally:
            connection.close()

    def send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The connection is the caller's to close, once the answer is read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.request(method, path, body, headers)
        return connection, connection.getresponse()


class Front(ThreadingHTTPServer):
    """Listens at 127.0.0.1:`port` for `server`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, server: ModelServer) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.model = server
        self.chooser = Chooser(server)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Said of nobody: whoever asked has gone away, or sees the connection end."""

    def choose_labels(self, body: bytes) -> tuple[bytes, int]:
        """The request to pass on, and how many tokens the choice looked at (0: none was due)."""
        try:
            document = json.loads(body)
            schema = document["response_format"]["json_schema"]["schema"]
            is_streamed = document.get("stream")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return body, 0
        labels, question = find_labels(schema), read_question(document.get("messages"))
        if not labels or question is None or is_streamed:
            return body, 0
        chosen, looked_at = {}, 0
        try:
            for name, each in labels.items():
                chosen[name], count = self.chooser.choose(question, name, each)
                looked_at += count
        except NotScored:  # too long a prompt, say: the server's own answer says it
            return body, 0
        document["response_format"]["json_schema"]["schema"] = set_labels(schema, chosen)
        return json.dumps(document).encode(), looked_at


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Front
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._pass_on(None, 0)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self.send_error(http.client.LENGTH_REQUIRED)
            return
        body, looked_at = self.rfile.read(int(length)), 0
        if self.path in COMPLETIONS:
            body, looked_at = self.server.choose_labels(body)
        self._pass_on(body, looked_at)

    def _pass_on(self, body: bytes | None, looked_at: int) -> None:
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        connection, answer = self.server.model.send(self.command, self.path, body, headers)
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                self._stream(answer)
                return
            content = add_usage(answer.read(), looked_at)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        finally:
            connection.close()

    def _stream(self, answer: http.client.HTTPResponse) -> None:
        self.close_connection = True
        self.send_header("Connection", "close")
        self.end_headers()
        while piece := answer.read1():
            self.wfile.write(piece)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a log of every request is of no use here."""


def add_usage(content: bytes, looked_at: int) -> bytes:
    """The answer with the tokens of labels that were looked at, counted as OpenAI counts those of a
    prediction that was not used."""
    if not looked_at:
        return content
    document = json.loads(content)
    usage = document.get("usage")
    if isinstance(usage, dict):
        usage["completion_tokens"] = usage.get("completion_tokens", 0) + looked_at
        usage["total_tokens"] = usage.get("total_tokens", 0) + looked_at
        usage["completion_tokens_details"] = {"rejected_prediction_tokens": looked_at}
    return json.dumps(document).encode()
