"""How subcommands talk to the server: connecting, pages of a query, streamed answers."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from signalbox import client
from signalbox.desktop import engine_options
from signalbox.desktop.terminal_output import warn_compacted, warn_if_before_all

PAGE_SIZE: Final = 1_000
BLOCK_BYTES: Final = 64 * 1024
NDJSON_HEADERS: Final = {"Content-Type": "application/x-ndjson"}


def connect(
    data_dir: Path, *, actor: str | None = None, name: str = "cli", start: bool = True
) -> client.Box:
    """The client of the running server, or of one that ends with us.

    Without `actor` it is that of this `name`: several nodes of a store have one each. Raises
    `NotRunning`, also where the server is not what `--engine` asks for.
    """
    box = client.connect(actor, data_dir=data_dir, start=start)
    try:
        engine_options.check_server(box)
    except BaseException:
        box.close()
        raise
    box.actor = actor or (f"{name}@{box.node}" if box.node else name)
    return box


def find_attempt(box: client.Box, identity: str) -> dict[str, Any] | None:
    """What is kept of the attempt with this command id; None where there was none."""
    try:
        record: dict[str, Any] = box.query(f"attempts/{quote(identity, safe='')}")
    except client.Rejected as error:
        if error.code == "not_found":
            return None
        raise
    return record


def import_batches(box: client.Box, import_id: str) -> Iterator[dict[str, Any]]:
    """The attempts of the batches that an import was written in, in order."""
    number = 1
    while (attempt := find_attempt(box, f"{import_id}-{number}")) is not None:
        yield attempt
        number += 1


# Pages.


def query_pages(
    box: client.Box,
    query: str,
    *,
    position: str = "after",
    first: Any = None,
    **parameters: Any,
) -> Iterator[dict[str, Any]]:
    """Every page of a query, from position `first` on, all as of the moment of the first page.

    A warning on stderr says what retention has removed, or that there was nothing yet.
    """
    following, warned = first, list[str]()
    while True:
        page = box.query(query, **parameters, **{position: following})
        compacted = page.get("compacted", [])
        if compacted and compacted != warned:
            warn_compacted(warned := compacted)
        if parameters.get("at") is not None:
            warn_if_before_all(page["revision"])
        for name, revision in (("at", "revision"), ("from", "from"), ("to", "to")):
            if parameters.get(name) is not None:
                parameters[name] = page[revision]
        yield page
        if (following := page["next"]) is None:
            return


def query_items(
    box: client.Box,
    query: str,
    *,
    field: str = "items",
    count: int | None = None,
    **parameters: Any,
) -> Iterator[Any]:
    """The items in all pages of a query; at most `count`."""
    size = PAGE_SIZE if count is None else min(PAGE_SIZE, count)
    pages = query_pages(box, query, limit=size, **parameters)
    return islice((item for page in pages for item in page[field]), count)


# Streamed answers.


def answer_blocks(answer: client.Answer) -> Iterator[bytes]:
    """The body of an answer in blocks, as it arrives. Raises `NotRunning` where it breaks off."""
    return read_whole_answer(answer.blocks())


def read_whole_answer(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The lines or blocks of an answer. Raises `NotRunning` where it breaks off."""
    try:
        yield from parts
    except OSError as error:
        raise client.NotRunning(
            "The server broke off its answer: it has ended, or the connection to it."
        ) from error
