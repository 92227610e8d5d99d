"""How often the local model gives a ticket its right label: asked plainly, and by choice.

Both ask the same model, in the same run, the requests that a pipeline would send. *Plain* is the
model's own server, whose grammar holds the answer to the schema; *choice* is what stands before it
(`pipeline_admin/bootstrap/label_choice.py`). Each set is asked with a prompt that lists its labels
and one that does not. The first three tickets of each label were used to find the way, and are
left out; so are, unless asked for, all but a few of the others.

    python -m bench.tickets PATH/tickets.jsonl [--each 3]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline_admin.bootstrap.llm_front import Front, ModelServer
from pipeline_admin.bootstrap.local_llm import MODEL_NAME, start_server

TUNED_ON = 3
WORST = 5
ASK = "Sort this question of a bank's customer by its intent."
QUESTION = "Question: {{ text }}"
Row = tuple[dict[str, Any], dict[str, str]]


@dataclass(frozen=True)
class Case:
    """`rows` are payloads and what the answer should say of them."""

    name: str
    prompt: str
    schema: dict[str, Any]
    rows: list[Row]
    max_output_tokens: int = 60


def main() -> None:
    """Print a line for each way and field, then what the choice mixes up most."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("tickets", type=Path, help="lines of JSON with text and label")
    parser.add_argument("--each", type=int, default=3, help="tickets of each label")
    arguments = parser.parse_args()
    set_up_django()
    cases = [*read_cases(arguments.tickets, arguments.each), get_ready_case()]
    server, behind = start_server()
    front = Front(0, behind)
    start_in_thread(front)
    for case in cases:
        measure(case, behind, front.server_port)
    front.shutdown()
    del server


def set_up_django() -> None:
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "pipeline_admin.settings",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "OPENAI_MODEL": MODEL_NAME,
    }
    import django

    django.setup()


def start_in_thread(front: Front) -> None:
    import threading

    threading.Thread(target=front.serve_forever, daemon=True).start()


def read_cases(path: Path, each: int) -> list[Case]:
    rows: dict[str, list[str]] = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        ticket = json.loads(line)
        rows[ticket["label"]].append(ticket["text"])
    labels = sorted(rows)
    schema = {
        "type": "object",
        "properties": {"intent": {"enum": labels}},
        "required": ["intent"],
        "additionalProperties": False,
    }
    held_out: list[Row] = [
        ({"text": text}, {"intent": label})
        for label in labels
        for text in rows[label][TUNED_ON:][:each]
    ]
    listed = f"{ASK} Choose one of these intents:\n" + "\n".join(labels)
    name = f"{len(labels)} intents"
    return [
        Case(name, f"{ASK}\n\n{QUESTION}", schema, held_out),
        Case(f"{name}, listed in the prompt", f"{listed}\n\n{QUESTION}", schema, held_out),
    ]


def get_ready_case() -> Case:
    from apps.pipelines.ready import get_ready_pipelines

    ready = get_ready_pipelines()["ticket-routing"]
    rows: list[Row] = [(row.payload, row.expected) for row in ready.labelled]
    config = ready.config
    return Case(
        "ready pipeline “Ticket routing”",
        config["prompt"],
        config["output_schema"],
        rows,
        config["max_output_tokens"],
    )


def measure(case: Case, behind: ModelServer, front_port: int) -> None:
    print(f"\n{case.name}: {len(case.rows)} tickets")
    for way, port in (("plain", behind.port), ("choice", front_port)):
        started = time.perf_counter()
        answers = [ask(port, case, payload) for payload, _ in case.rows]
        seconds = (time.perf_counter() - started) / len(case.rows)
        pairs = [
            (name, label, answer.get(name, "(none)"))
            for (_, expected), answer in zip(case.rows, answers, strict=True)
            for name, label in expected.items()
        ]
        for name in dict.fromkeys(name for name, _, _ in pairs):
            show(way, name, [(a, b) for each, a, b in pairs if each == name], seconds)


def show(way: str, name: str, pairs: list[tuple[str, str]], seconds: float) -> None:
    right = sum(label == given for label, given in pairs)
    share = right / len(pairs)
    print(
        f"{way:<7} {name:<8} {right:>3} of {len(pairs)} right ({share:.0%}), {seconds:.1f} s each"
    )
    if way != "choice":
        return
    wrong = Counter(label for label, given in pairs if label != given)
    for label, count in wrong.most_common(WORST):
        given = Counter(given for each, given in pairs if each == label != given)
        total = sum(each == label for each, _ in pairs)
        instead = ", ".join(f"{other} ({n})" for other, n in given.most_common())
        print(f"        {label}: {count} of {total} wrong, called {instead}")


def ask(port: int, case: Case, payload: dict[str, Any]) -> dict[str, Any]:
    """The answer to the request that a pipeline would send; nothing where it is no JSON."""
    from apps.pipelines.models import PipelineVersion
    from apps.pipelines.prepare import prepare

    version = PipelineVersion(
        prompt=case.prompt,
        output_schema=case.schema,
        max_output_tokens=case.max_output_tokens,
        model=MODEL_NAME,
    )
    request = prepare(version, json.dumps(payload).encode(), "application/json")
    assert request is not None  # there is no filter
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(request.body), headers)
    answer = json.load(connection.getresponse())
    connection.close()
    try:
        found = json.loads(answer["choices"][0]["message"]["content"])
    except ValueError:
        return {}  # cut off at the token limit
    return dict(found)


if __name__ == "__main__":
    main()
