"""The provider is down for ten minutes under load, in real time: `python -m bench.outage`.

A whole system, started by `manage.py up` with its own defaults, takes signed webhooks at an even
rate while its (fake) provider first answers, then refuses connections, then answers again; after
that once more with 503 instead of refused connections. Printed: what senders were answered and how
fast, what became of the events, and what the provider was asked. Exit code 1 where an event died,
was lost, was not done in the end or was paid twice, or where a sender was turned away.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx

from tests.e2e.system import System, running_system
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.fake_server import Exchange

SENDERS = 16
LOOK_EVERY_S = 60.0
DRAIN_WITHIN_S = 900.0
PHASES = ("before", "during", "after")


class Provider(FakeLLM):
    """`calls` counts what it answered; while `is_down` it answers 503 to everything."""

    def __init__(self, port: int = 0, latency_ms: float = 0.0) -> None:
        self.turned_away = 0
        self.is_down = False
        super().__init__(port, latency_ms)

    async def handle(self, exchange: Exchange) -> None:
        if self.is_down:
            await exchange.read_body()
            self.turned_away += 1
            exchange.send_json(503, {"error": {"message": "down", "type": "error"}})
            return
        await super().handle(exchange)


@dataclass
class Load:
    """Signed webhooks at an even rate, until told to stop."""

    system: System
    source: str
    per_s: float
    phase: str = PHASES[0]
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    latencies_ms: dict[str, list[float]] = field(default_factory=dict)
    accepted: list[str] = field(default_factory=list)  # public ids
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        due, number = time.monotonic(), 0
        with ThreadPoolExecutor(SENDERS) as pool:
            while not self._stopped.wait(max(due - time.monotonic(), 0)):
                pool.submit(self._send, number, self.phase, due)
                due, number = due + 1 / self.per_s, number + 1

    def _send(self, number: int, phase: str, due: float) -> None:
        key = f"{self.source}-{number}"
        payload = {"ticket": number, "text": f"[[{key}]] My invoice shows the wrong amount."}
        try:
            answer = self.system.post(self.source, key, payload)
        except httpx.TransportError as error:
            status = type(error).__name__
        else:
            status = str(answer.status_code)
            if answer.is_success:
                self.accepted.append(answer.json()["id"])
        # Counted from when it was due: a slow server does not make the load lighter.
        self.latencies_ms.setdefault(phase, []).append((time.monotonic() - due) * 1000)
        self.statuses.setdefault(phase, Counter())[status] += 1


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-outage-") as folder:
        data_dir = Path(folder) / "data"
        provider = Provider(latency_ms=options.latency_ms)
        environ = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "of-the-bench"}
        with running_system(data_dir, "--no-demo", "--no-llm", **environ) as system:
            _set_up_django(data_dir)
            complaints = []
            for kind in [options.only] if options.only else ["refused", "503"]:
                outage = _Outage(system, provider, kind, options)
                complaints += [f"{kind}: {complaint}" for complaint in outage.run()]
                provider = outage.provider
    for complaint in complaints:
        print(complaint)
    sys.exit(1 if complaints else 0)


class _Outage:
    """One outage of one kind, with a source of its own."""

    def __init__(
        self, system: System, provider: Provider, kind: str, options: argparse.Namespace
    ) -> None:
        self.system, self.provider, self.kind, self.options = system, provider, kind, options
        self.source = system.create_way(f"outage-{kind}")
        self.paid: Counter[str] = Counter()  # answers by event, over the provider's restarts

    def run(self) -> list[str]:
        """What is wrong with how it went, in words; nothing is best."""
        print(f"--- {self.kind}: {self.options.minutes:g} minutes at {self.options.rate:g}/s")
        load = Load(self.system, self.source, self.options.rate)
        self._pass_time(load, self.options.around)
        load.phase = "during"
        self._take_down()
        self._pass_time(load, self.options.minutes * 60)
        back, waiting = time.monotonic(), _count_open(self.source)
        old = list(load.accepted)
        self._bring_back()
        load.phase = "after"
        self._pass_time(load, self.options.around)
        load.stop()
        done_after = self._drain(old, back, f"the {waiting} events that waited")
        self._drain(load.accepted, back, "all events")
        self._count_answers()
        self._print(load)
        return self._complain(load) if done_after else ["not all were done in time"]

    def _take_down(self) -> None:
        if self.kind == "503":
            self.provider.is_down = True
        else:
            # What is under way is answered: cut off, it would be held, and rightly.
            self.provider.wind_down()
            self._count_answers()

    def _bring_back(self) -> None:
        if self.kind == "503":
            self.provider.is_down = False
        else:
            self.provider = Provider(self.provider.port, self.options.latency_ms)

    def _count_answers(self) -> None:
        answers = self.provider.calls.items()
        self.paid.update({key: n for key, n in answers if key.startswith(self.source)})

    def _pass_time(self, load: Load, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_EVERY_S))
            self._look(load)

    def _look(self, load: Load) -> None:
        ready = self.system.web.get("/readyz")
        states = ", ".join(f"{n} {status}" for status, n in _count_states(self.source).items())
        line = f"{load.phase}: {len(load.accepted)} accepted; {states}; "
        print(
            f"{line}{_count_waiting(self.source)} waiting; readyz {ready.status_code}", flush=True
        )

    def _drain(self, ids: list[str], since: float, what: str) -> float:
        """Seconds from `since` until these are delivered; 0 where they never were."""
        deadline = time.monotonic() + DRAIN_WITHIN_S
        while (missing := len(ids) - _count_delivered(ids)) and time.monotonic() < deadline:
            time.sleep(0.5)
        took = time.monotonic() - since
        end = f"{missing} are not" if missing else f"done {took:.0f} s after it was back"
        print(f"{what}: {end}", flush=True)
        return 0 if missing else took

    def _print(self, load: Load) -> None:
        for phase in PHASES:
            times = sorted(load.latencies_ms.get(phase, [0.0]))
            p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
            print(f"senders {phase:6} {dict(load.statuses.get(phase, {}))}", end="  ")
            print(f"p50 {p50:.1f} ms  p99 {p99:.1f} ms  longest {times[-1]:.0f} ms")
        print(
            f"events: {dict(_count_states(self.source))}; attempts: {_count_attempts(self.source)}"
        )
        print(f"most attempts that one event used: {_find_most_attempts(self.source)}")
        print(f"provider: {self.paid.total()} answers to {len(self.paid)} events", end=", ")
        print(f"{self.provider.turned_away} requests answered 503")

    def _complain(self, load: Load) -> list[str]:
        states = _count_states(self.source)
        total = sum(states.values())
        refused = {
            phase: dict(counts) for phase, counts in load.statuses.items() if set(counts) != {"202"}
        }
        twice = [key for key, times in self.paid.items() if times > 1]
        complaints = [f"senders were turned away: {refused}"] if refused else []
        if set(states) != {"delivered"}:
            complaints.append(f"not all events are delivered: {dict(states)}")
        if total != len(set(load.accepted)):
            complaints.append(f"{len(set(load.accepted))} events accepted, {total} found")
        if twice:
            complaints.append(f"paid more than once: {', '.join(twice)}")
        if len(self.paid) != total:
            complaints.append(f"{len(self.paid)} events paid for, of {total}")
        return complaints


# --- What the database says ---------------------------------------------------------------------


def _set_up_django(data_dir: Path) -> None:
    os.environ |= {"DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "pipeline_admin.settings"}
    import django

    django.setup()


def _count_states(source: str) -> Counter[str]:
    from apps.events.models import Event

    states = Event.objects.filter(source__slug=source).order_by().values_list("status", flat=True)
    return Counter(states)


def _count_open(source: str) -> int:
    states = _count_states(source)
    return states["queued"] + states["running"]


def _count_waiting(source: str) -> int:
    from apps.events.models import Event

    return Event.objects.filter(source__slug=source, waiting_until__isnull=False).count()


def _count_delivered(ids: list[str]) -> int:
    from apps.events.models import Event

    delivered = Event.objects.filter(status="delivered").values_list("pk", flat=True)
    return len({f"evt_{pk.hex}" for pk in delivered} & set(ids))


def _count_attempts(source: str) -> dict[str, int]:
    from apps.events.models import Attempt

    rows = Attempt.objects.filter(event__source__slug=source, step="llm").order_by()
    return dict(Counter(rows.values_list("outcome", flat=True)))


def _find_most_attempts(source: str) -> int:
    from django.db.models import Max

    from apps.events.models import Attempt

    rows = Attempt.objects.filter(event__source__slug=source, step="llm")
    return int(rows.aggregate(most=Max("number"))["most"] or 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long it is down")
    parser.add_argument("--rate", type=float, default=4.0, help="events a second")
    parser.add_argument("--around", type=float, default=60.0, help="seconds before and after")
    parser.add_argument("--only", choices=("refused", "503"), help="one kind of outage")
    parser.add_argument("--latency-ms", type=float, default=20.0, help="of the model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
