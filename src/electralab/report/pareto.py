"""Which of several points are worth having where one quantity should be high and another low, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

Place = Literal["front", "close", "below"]


class Point(NamedTuple):
    """A cost (above 0) and a score; `low` and `high` are the score's interval, None where it has none (one seed)."""

    cost: float
    score: float
    low: float | None
    high: float | None


def dominates(one: Point, other: Point) -> bool:
    """Whether the first costs no more and scores no less, and is better in one of the two."""
    no_worse = one.cost <= other.cost and one.score >= other.score
    return no_worse and (one.cost < other.cost or one.score > other.score)


def front(points: Sequence[Point]) -> list[int]:
    """The points that no other dominates, by cost; several of the same cost and score are all there."""
    found: list[int] = []
    for number in sorted(range(len(points)), key=lambda n: (points[n].cost, -points[n].score)):
        if not found or points[number].score > points[found[-1]].score or points[number][:2] == points[found[-1]][:2]:
            found.append(number)
    return found


def beaten_by(points: Sequence[Point]) -> list[int | None]:
    """Of every point the one of the front that shows it to be below the front; None of those that are not.

    That is a point that costs no more and whose interval lies wholly above, of several the one with the highest lower
    end. Without an interval nothing is shown.
    """
    sure = [number for number in front(points) if points[number].low is not None]
    found: list[int | None] = []
    for point in points:
        above = [number for number in sure if _is_shown_above(points[number], point)]
        found.append(max(above, key=lambda number: points[number].low or 0.0) if above else None)
    return found


def places(points: Sequence[Point]) -> list[Place]:
    """Of every point: on the front; `close`, not shown to be below it; or `below`."""
    best, beaten = front(points), beaten_by(points)
    return [
        "front" if number in best else "close" if beaten[number] is None else "below" for number in range(len(points))
    ]


def knee(points: Sequence[Point]) -> int | None:
    """Where the front bends: its point furthest above the straight line between its ends.

    Costs are taken as logarithms, and both axes from 0 to 1 over the front, so that units do not matter (the distance
    to the chord, as in Satopää et al., 2011).

    Returns:
        None if no point of the front lies above that line.
    """
    best = front(points)
    first, last = points[best[0]], points[best[-1]]
    if first.cost == last.cost:
        return None
    width, height = math.log(last.cost / first.cost), last.score - first.score
    above = {
        number: (points[number].score - first.score) / height - math.log(points[number].cost / first.cost) / width
        for number in best
    }
    furthest = max(above, key=lambda number: above[number])
    return furthest if above[furthest] > 1e-9 else None


def _is_shown_above(one: Point, other: Point) -> bool:
    return one.cost <= other.cost and one.low is not None and other.high is not None and one.low > other.high
