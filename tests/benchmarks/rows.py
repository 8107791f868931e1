"""The table: one line for each thing measured."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median, quantiles
from typing import Final, NamedTuple

COLUMNS: Final = ("what", "Signalbox", "beside", "ratio", "target", "met?")


class Row(NamedTuple):
    """`met` is None where there is no target."""

    what: str
    ours: str
    beside: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        verdict = {True: "yes", False: "NO", None: ""}[self.met]
        return (self.what, self.ours, self.beside, self.ratio, self.target, verdict)


def at_least(
    what: str,
    ours: Sequence[float],
    other: str,
    others: Sequence[float],
    unit: str,
    target: float | None = None,
) -> Row:
    """More is better than the `other`; the ratio is the median of those of each round."""
    ratio = ratio_of(ours, others)
    return _compared(what, ours, other, others, unit)._replace(
        target="" if target is None else f">= {target:g}",
        met=None if target is None else ratio >= target,
    )


def no_more_than(
    what: str,
    ours: Sequence[float],
    other: str,
    others: Sequence[float],
    unit: str,
    target: float | None = None,
) -> Row:
    """As `at_least`, where less is better."""
    ratio = ratio_of(ours, others)
    return _compared(what, ours, other, others, unit)._replace(
        target="" if target is None else f"<= {target:g}",
        met=None if target is None else ratio <= target,
    )


def _compared(
    what: str, ours: Sequence[float], other: str, others: Sequence[float], unit: str
) -> Row:
    return Row(
        what,
        f"{with_spread(ours)} {unit}",
        f"{other}: {with_spread(others)} {unit}",
        f"{ratio_of(ours, others):.2f}",
    )


def with_spread(values: Sequence[float]) -> str:
    """The median, and between which two values half of them are."""
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"{format_number(middle)} ({format_number(low)} to {format_number(high)})"


def at_most(
    what: str,
    ours: float,
    unit: str,
    target: float | None = None,
    beside: tuple[str, float] | None = None,
    factor: float | None = None,
) -> Row:
    """Less is better; `target` is a bound in `unit`, `factor` one on the ratio to `beside`."""
    ratio = ours / beside[1] if beside else None
    wanted = [] if target is None else [f"< {target:g} {unit}"]
    kept = target is None or ours < target
    if factor is not None and ratio is not None:
        wanted.append(f"<= {factor:g} times")
        kept = kept and ratio <= factor
    return Row(
        what,
        f"{format_number(ours)} {unit}",
        f"{beside[0]}: {format_number(beside[1])} {unit}" if beside else "",
        "" if ratio is None else f"{ratio:.2f}",
        ", ".join(wanted),
        kept if wanted else None,
    )


def ratio_of(ours: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios of rounds: what disturbs the machine disturbs both sides of one."""
    return median(one / other for one, other in zip(ours, others, strict=True))


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that `share` of them (0 to 1) do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def format_number(number: float) -> str:
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
