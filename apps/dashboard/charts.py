"""Small charts as points of an SVG: drawn by the server, so that a refetched fragment is whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

Value = float | None
WIDTH, HEIGHT, PAD = 160.0, 40.0, 3.0
PLOT_WIDTH = 600.0


def thin(values: Sequence[Value], points: int) -> list[Value]:
    """At most `points` values: each the mean of its share, None where nothing in it is known."""
    if len(values) <= points:
        return list(values)
    edges = [round(index * len(values) / points) for index in range(points + 1)]
    return [_mean(values[start:end]) for start, end in pairwise(edges)]


def _mean(values: Sequence[Value]) -> Value:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def get_runs(values: Sequence[Value], top: float) -> list[list[tuple[float, float]]]:
    """The points of a line in a WIDTH × HEIGHT box, broken where a value is unknown."""
    step = WIDTH / max(len(values) - 1, 1)
    scale = (HEIGHT - 2 * PAD) / (top or 1)
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((round(index * step, 1), round(HEIGHT - PAD - value * scale, 1)))
    return [run for run in runs if len(run) > 1]


@dataclass(frozen=True)
class Sparkline:
    """`lines` are SVG `points` attributes, `areas` the same closed down to the base line."""

    lines: list[str]
    areas: list[str]


def draw_sparkline(values: Sequence[Value], points: int = 48) -> Sparkline:
    """The course of a figure, oldest first, scaled to its own highest value."""
    thinned = thin(values, points)
    runs = get_runs(thinned, max((value for value in thinned if value), default=0.0))
    return Sparkline(
        [_join(run) for run in runs],
        [_join([(run[0][0], HEIGHT), *run, (run[-1][0], HEIGHT)]) for run in runs],
    )


def _join(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


@dataclass(frozen=True)
class Bar:
    """One column of the throughput chart, in a box of PLOT_WIDTH × 100; `x` is its left edge."""

    at: datetime
    value: Value
    x: float
    height: float

    @property
    def y(self) -> float:
        return 100 - self.height


@dataclass(frozen=True)
class BarChart:
    """Columns, oldest first, and the round number at the top of the scale."""

    bars: list[Bar]
    top: float

    @property
    def half(self) -> float:
        return self.top / 2

    @property
    def is_empty(self) -> bool:
        return not any(bar.value for bar in self.bars)


def draw_bars(
    samples: Sequence[tuple[datetime, Value]], now: datetime, span: timedelta, count: int
) -> BarChart:
    """`count` columns over the `span` before `now`: each the mean of its samples."""
    width = span / count
    shares: list[list[Value]] = [[] for _ in range(count)]
    for at, value in samples:
        index = count - 1 - int((now - at) / width)
        if 0 <= index < count:
            shares[index].append(value)
    means = [_mean(share) for share in shares]
    top = get_round_top(max((mean for mean in means if mean), default=0.0))
    starts = [now - span + width * index for index in range(count)]
    bars = [
        Bar(start, mean, round(index * PLOT_WIDTH / count, 1), round(100 * (mean or 0) / top, 1))
        for index, (start, mean) in enumerate(zip(starts, means, strict=True))
    ]
    return BarChart(bars, top)


def get_round_top(value: float) -> float:
    """The next of 2, 3, 4, 5, 6, 8, 10, 20, 30 … that is not below `value`."""
    scale = 1.0
    while True:
        for step in (2, 3, 4, 5, 6, 8, 10):
            if value <= step * scale:
                return step * scale
        scale *= 10
