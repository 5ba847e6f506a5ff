"""Which of several arms can be ordered: by their paired differences. Overlap of two intervals decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

from electralab.report.statistics.differences import Difference
from electralab.report.text import listing


class Order(NamedTuple):
    """Pairs by what is known of them; of those in `shown` the first is above the second."""

    arms: tuple[str, ...]
    shown: tuple[tuple[str, str], ...]
    unclear: tuple[tuple[str, str], ...]
    unknown: tuple[tuple[str, str], ...]

    def sentence(self, what: str) -> str:
        """One clause without a full stop; the arms are called as `order` got them."""
        pairs = len(self.shown) + len(self.unclear) + len(self.unknown)
        if not self.shown:
            reason = "no paired difference is shown" if self.unclear else "one common seed gives no interval"
            return f"by {what}, no two of {listing(self.arms)} can be ordered: {reason}"
        below: dict[str, list[str]] = {arm: [] for arm in self.arms}
        for high, low in self.shown:
            below[high].append(low)
        ranked = sorted((arm for arm in self.arms if below[arm]), key=lambda arm: -len(below[arm]))
        if len(self.shown) == pairs:
            return f"by {what}, every two can be ordered: {' > '.join([*ranked, *below[ranked[-1]]])}"
        parts = [f"{arm} above {listing(below[arm])}" for arm in ranked]
        return f"by {what}, {len(self.shown)} of {pairs} pairs can be ordered: {'; '.join(parts)}"


def order(arms: Sequence[str], difference: Callable[[str, str], Difference | None]) -> Order:
    """Order arms.

    Args:
        arms: in the order in which they are named.
        difference: of two arms; None where they share no seed.
    """
    shown, unclear, unknown = [], [], []
    for a, b in combinations(arms, 2):
        between = difference(a, b)
        match between.verdict if between else "unknown":
            case "higher":
                shown.append((a, b))
            case "lower":
                shown.append((b, a))
            case "unclear":
                unclear.append((a, b))
            case _:
                unknown.append((a, b))
    return Order(tuple(arms), tuple(shown), tuple(unclear), tuple(unknown))
