"""Model to HTML: one function per region of the window. Pure; plain data in, text out.

A region is one element with an id of its own. Names of parameters are those of the read model;
`now` is in ms since 1970 UTC, `own` is this window's actor.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from signalbox.ui import formatting, invisible_characters, time_slider
from signalbox.ui.charts import CHART_HEIGHT, MARGIN, Chart, Trend, drawing, sparkline
from signalbox.ui.value_diff import Delta

SPANS = {
    "15m": "the last 15 minutes",
    "1h": "the last hour",
    "1d": "the last day",
    "all": "all the time",
}
FRESH_MS = 1_500
"""A key that is younger flashes when it comes into the picture."""


class Item(Protocol):
    """A key, its value as compact JSON text, and who set it when (ms since 1970 UTC)."""

    @property
    def key(self) -> str:
        """The item's key."""

    @property
    def raw(self) -> str:
        """The item's value as compact JSON text."""

    @property
    def revision(self) -> int:
        """The revision that set the item's value."""

    @property
    def at(self) -> int:
        """When the item's value was set, in ms since 1970 UTC."""

    @property
    def actor(self) -> str:
        """Who set the item's value."""


class Branch(NamedTuple):
    """One line of the tree: a node, or where `more` is set the keys of a parent not listed yet."""

    depth: int
    prefix: str
    segment: str
    key: str | None
    keys: int
    is_open: bool = False
    more: int = 0


class Version(NamedTuple):
    """One change of a key: its value from then on (None: deleted), and the difference it made."""

    revision: int
    at: int
    actor: str
    raw: str | None
    delta: Delta


class Row(NamedTuple):
    """A key that differs: its values, None where there was none, and how they differ."""

    key: str
    before: str | None
    after: str | None
    delta: Delta


class Moment(NamedTuple):
    """A revision and when it was made, in ms; revision 0 is before all."""

    revision: int
    at: int
    is_now: bool = False


MODULES: Final = (
    *("datastar", "signals", "commands", "values", "editor", "list", "tree", "forms", "palette"),
    *("sources", "past", "restore", "activity", "clipboard", "identity", "undo", "resolve"),
    *("history", "chart", "diff", "about", "menu", "title", "save", "transfer", "app"),
)
"""The scripts of the page, which are preloaded before login."""

FIRST_TEMPLATES: Final = "door shell pieces rows tree about foot ticks found fact".split()
"""Those of a page until it is complete."""


def load_templates() -> Iterator[None]:
    """Compile what a new page needs, one template after the other."""
    for name in FIRST_TEMPLATES:
        yield
        _templates().get_template(f"{name}.html")


def login_page() -> str:
    """The empty page, which everybody gets: nothing but the login."""
    return _render("door.html", modules=" ".join(MODULES))


def shell(
    *,
    store: str,
    version: str,
    theme: str,
    shell_line: str,
    window: str,
    page: str,
    node: str,
    data_dir: str,
    encodings: Sequence[str],
    regions: Mapping[str, str],
    has_keys: bool,
) -> str:
    """The content of the page, which its stream keeps current. `window` is the id of this window.

    `page` identifies this loading of the page.
    `node` is the server's own where several share the store, else empty.
    `encodings` are those of files to import, `regions` the HTML of the first regions: rows, tree,
    about and foot.
    """
    return _render(
        "shell.html",
        store=store,
        hidden=invisible_characters.script_class(),
        version=version,
        theme=theme,
        shell_line=shell_line,
        window=window,
        page=page,
        node=node,
        data_dir=data_dir,
        encodings=encodings,
        regions=regions,
        has_keys=has_keys,
    )


def rows(
    items: Iterable[Item],
    trends: Mapping[str, Trend],
    *,
    start: int,
    total: int,
    now: int,
    own: str,
    search: str = "",
    is_past: bool = False,
) -> str:
    """The visible rows of the list: `items` from position `start` of `total` (-1: not counted yet).

    `trends` by key. Matches of `search` are highlighted. In the past, switches are disabled.
    """
    return _render(
        "rows.html",
        items=items,
        trends={key: sparkline(trend) for key, trend in trends.items()},
        start=start,
        total=total,
        now=now,
        own=own,
        search=search,
        is_past=is_past,
        fresh=now - FRESH_MS,
    )


def ticks(counts: Sequence[int], *, start: int, end: int) -> str:
    """Below the time slider, from `start` to `end` in ms: transactions in each equal stretch."""
    return _render(
        "ticks.html", counts=counts, bars=time_slider.activity_bars(counts), start=start, end=end
    )


def moment(at: int, now: int, revision: int) -> str:
    """The text about the earlier revision that the page shows."""
    when = time_slider.local_moment(at, now) if at else "Before the first change"
    return f"{when} · revision {formatting.number(revision)}"


def compacted_text(prefixes: Sequence[str]) -> str:
    """The prefixes whose past retention has removed, in the page; empty where none is missing."""
    return ", ".join("all keys" if prefix == "" else prefix for prefix in prefixes)


def found(total: int, is_filtered: bool) -> str:
    """The number of matches, beside the search field."""
    return _render("found.html", total=total, is_filtered=is_filtered)


def tree(branches: Sequence[Branch], *, total: int, selected: str) -> str:
    """The prefixes and keys below all open prefixes, with the exact number of keys of each."""
    return _render("tree.html", branches=branches, total=total, selected=selected)


def about(
    item: Item | None, *, key: str, prefix: str, keys: int, now: int, own: str, is_past: bool
) -> str:
    """The head of the inspector: the selected key, or the selected prefix with its keys."""
    return _render(
        "about.html",
        item=item,
        key=key,
        prefix=prefix,
        keys=keys,
        now=now,
        own=own,
        is_past=is_past,
    )


def key_data(item: Item | None, *, key: str, own: str) -> str:
    """The exact value and revision of the selected key, hidden, for the editor."""
    return _render("fact.html", item=item, key=key, own=own)


def activity(
    attempts: Sequence[Mapping[str, Any]],
    undone: Collection[int],
    *,
    only: str,
    has_more: bool,
    is_past: bool,
    now: int,
    own: str,
) -> str:
    """Every attempt, newest first, with its outcome; `undone` are revisions."""
    return _render(
        "activity.html",
        attempts=attempts,
        undone=undone,
        only=only,
        has_more=has_more,
        is_past=is_past,
        now=now,
        own=own,
    )


def sources(
    computer: Mapping[str, Any], *, node: str, revision: int, keys: int, is_past: bool
) -> str:
    """The built-in producers of keys; `computer` is the source's setting, `revision` its key's.

    `node` is this one of those that share the store, empty where nobody does.
    """
    return _render(
        "sources.html",
        computer=computer,
        node=node,
        revision=revision,
        keys=keys,
        is_past=is_past,
    )


def history(
    versions: Sequence[Version],
    *,
    key: str,
    current: int,
    before: int,
    has_more: bool,
    is_cut: bool,
    is_past: bool,
    now: int,
    own: str,
) -> str:
    """What the key was, newest first, from revision `before` on backwards (0: from now).

    `current` is the revision that needs no restoring; `is_cut` where older changes were not kept.
    """
    return _render(
        "history.html",
        versions=versions,
        key=key,
        current=current,
        is_later=bool(before),
        has_more=has_more,
        is_cut=is_cut,
        is_past=is_past,
        now=now,
        own=own,
    )


def chart(chart: Chart | None, *, key: str, span: str, is_drawn: bool) -> str:
    """The chart of a key over time; `is_drawn` where it has one, even if none can be made now."""
    drawn = drawing(chart) if chart else None
    places = len(chart.columns) + (chart.before is not None) if chart else 0
    return _render(
        "chart.html",
        drawing=drawn,
        places=places,
        key=key,
        span=SPANS[span],
        is_drawn=is_drawn,
        is_to_come=False,
        tall=CHART_HEIGHT,
        margin=MARGIN,
    )


def chart_to_come(*, key: str) -> str:
    """What stands in place of a chart while it is being read."""
    return _render("chart.html", drawing=None, key=key, is_drawn=True, is_to_come=True)


def diff(
    rows: Sequence[Row],
    *,
    since: Moment,
    until: Moment,
    total: int,
    compacted: Sequence[str],
    behind: str,
    following: str | None,
    now: int,
) -> str:
    """What differs between two moments; `total` -1 while they are being compared."""
    return _render(
        "diff.html",
        rows=rows,
        since_name=_moment(since, now),
        until_name=_moment(until, now),
        since_at=since.at,
        until_at=until.at,
        total=total,
        compacted=[prefix or "all keys" for prefix in compacted],
        behind=behind,
        next=following,
    )


def _moment(moment: Moment, now: int) -> str:
    """One side of a comparison as a text."""
    if moment.is_now:
        return "now"
    if not moment.revision:
        return "the beginning"
    return (
        f"revision {formatting.number(moment.revision)} ({formatting.time_since(moment.at, now)})"
    )


def status_bar(
    *, engine: dict[str, Any], revision: int, keys: int | None, rate: float | None
) -> str:
    """The left part of the status bar; `revision` and `keys` are those that the page shows, `keys`
    None where they cannot be counted.

    `rate` in changes per second, None where an earlier revision is shown.
    `engine` is `{"engine", "durability", "log", "clock"}` as `/queries/status` has them.
    """
    return _render("foot.html", engine=engine, revision=revision, keys=keys, rate=rate)


def _render(template: str, **data: Any) -> str:
    """The HTML of a template with its data."""
    return formatting.escape_line_breaks(_templates().get_template(template).render(data))


@cache
def _templates() -> Environment:
    """Jinja2's environment, which escapes everything."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(formatting.filters())
    return environment
