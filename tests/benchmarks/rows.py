"""The table: one line for each thing measured."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Final, NamedTuple

COLUMNS: Final = ("what", "ours", "peer", "ratio", "target", "met?")


class Row(NamedTuple):
    """`met` is None where there is no target."""

    what: str
    ours: str
    peer: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        verdict = {True: "yes", False: "NO", None: ""}[self.met]
        return (self.what, self.ours, self.peer, self.ratio, self.target, verdict)


def at_least(
    what: str, ours: Sequence[float], peer: Sequence[float], unit: str, target: float | None = None
) -> Row:
    """More is better; the ratio is the median of those of each round."""
    ratio = ratio_of(ours, peer)
    return Row(
        what,
        f"{shown(median(ours))} {unit}",
        f"{shown(median(peer))} {unit}",
        f"{ratio:.2f}",
        "" if target is None else f">= {target:g}",
        None if target is None else ratio >= target,
    )


def at_most(
    what: str,
    ours: float,
    unit: str,
    target: float | None = None,
    peer: float | None = None,
    factor: float | None = None,
) -> Row:
    """Less is better; `target` is a bound in `unit`, `factor` one on the ratio to `peer`."""
    ratio = None if peer is None else ours / peer
    wanted = [] if target is None else [f"< {target:g} {unit}"]
    kept = target is None or ours < target
    if factor is not None and ratio is not None:
        wanted.append(f"<= {factor:g} times")
        kept = kept and ratio <= factor
    return Row(
        what,
        f"{shown(ours)} {unit}",
        "" if peer is None else f"{shown(peer)} {unit}",
        "" if ratio is None else f"{ratio:.2f}",
        ", ".join(wanted),
        kept if wanted else None,
    )


def ratio_of(ours: Sequence[float], peer: Sequence[float]) -> float:
    """The median of the ratios of rounds: what disturbs the machine disturbs both sides of one."""
    return median(one / other for one, other in zip(ours, peer, strict=True))


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that `share` of them (0 to 1) do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def shown(number: float) -> str:
    """Three figures that mean something."""
    if number >= 1000:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 100 else f"{number:.3g}"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of a Markdown table that is also readable as it is."""
    lines = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    for number, line in enumerate(lines):
        yield "| " + " | ".join(map(str.ljust, line, widths)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
