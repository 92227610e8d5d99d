"""How much redaction finds, how much it finds wrongly, and how long it takes.

The texts are the labelled ones of the tests: `labelled.txt`, by which the finders were tuned, and
`held_out.txt`, written after that. Recall: labels of which nothing is left to read. Precision:
finds that are what they were taken for. Times are of this machine, the median of several rounds.

    python -m bench.redaction [--missed]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apps.pipelines.redaction.config import Redaction
from apps.pipelines.redaction.kinds import KINDS
from apps.pipelines.redaction.masking import Masking
from tests.pipelines.redaction.labelled import FILES, Figures, Labelled, measure, read_labelled

ROUNDS = 5
PROSE = "The printer on the second floor shows an error since Monday; we have tried to restart it. "


def main() -> None:
    """Print the figures of each file, then the times."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--missed", action="store_true", help="also what was missed or wrong")
    arguments = parser.parse_args()
    texts = {file.name: read_labelled(file) for file in FILES}
    for name, labelled in texts.items():
        show_figures(name, labelled, with_missed=arguments.missed)
    show_times([text.text for labelled in texts.values() for text in labelled])


def show_figures(name: str, texts: list[Labelled], *, with_missed: bool) -> None:
    empty = sum(not text.labels for text in texts)
    print(f"\n{name}: {len(texts)} texts, {empty} of them with nothing to mask")
    print(f"{'kind':<12} {'labels':>6} {'recall':>8} {'found':>6} {'precision':>10}")
    figures = measure(texts)
    for kind, counts in [*figures.items(), ("all", add_up(figures))]:
        recall, precision = f"{counts.recall:.1%}", f"{counts.precision:.1%}"
        print(f"{kind:<12} {counts.labels:>6} {recall:>8} {counts.found:>6} {precision:>10}")
    if with_missed:
        for kind, counts in figures.items():
            for each in counts.missed:
                print(f"missed {kind}: {each}")
            for each in counts.wrong:
                print(f"wrong {kind}: {each}")


def add_up(figures: dict[str, Figures]) -> Figures:
    every = figures.values()
    return Figures(
        labels=sum(each.labels for each in every),
        hidden=sum(each.hidden for each in every),
        found=sum(each.found for each in every),
        right=sum(each.right for each in every),
    )


def show_times(texts: list[str]) -> None:
    """All five kinds, all countries."""
    prose = PROSE * 100
    cases: dict[str, list[str]] = {
        "prose with nothing in it": [prose],
        "prose with one label in each KB": [f"{prose[:900]} {text}" for text in texts],
        "the labelled texts, nothing else": texts,
    }
    print(f"\n{'time':<34} {'µs/text':>9} {'µs/KB':>8}")
    for name, case in cases.items():
        seconds = statistics.median(take(case) for _ in range(ROUNDS))
        kilobytes = sum(len(text.encode()) for text in case) / 1024
        print(f"{name:<34} {seconds / len(case) * 1e6:>9.0f} {seconds / kilobytes * 1e6:>8.0f}")


def take(texts: list[str]) -> float:
    """Seconds for all of them, each an event of its own."""
    redaction = Redaction(kinds=KINDS)
    started = time.perf_counter()
    for text in texts:
        Masking(redaction).mask([("text", text)])
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
