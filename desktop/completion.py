"""Completion in bash, zsh and fish: words of the command line, and what the running server has.

A shell's function calls `signalbox` with `_SIGNALBOX_COMPLETE` set, by click's protocol
(`click.shell_completion`), and in COMP_LINE the command line up to the cursor. Of `signalbox
completion` are the functions.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Timer
from typing import Any, Final

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    split_arg_string,
)

from signalbox import client
from signalbox.desktop.completion_scripts import SCRIPTS
from signalbox.server.model.numbers import decimal

SECONDS: Final = "0.1"
"""For connecting and all that is asked, unless SIGNALBOX_COMPLETION_SECONDS says more."""
MOST: Final = 1_000
"""As many children or attempts as one query gives."""
PART: Final = "part"
"""The type of a completion that goes on: no space follows it."""
RULES: Final = "_signalbox.rules."
HIGHEST: Final = chr(0x10FFFF)
LITERAL: Final = re.compile(r"[^\w@%+=:,./-]")
"""What needs a backslash outside quotes."""

# What the server has.


def suggest(what: str, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """What the running server has of `SUGGESTIONS`; nothing without one, or where it takes long."""
    try:
        endpoint = client.read_endpoint_file(_data_dir(ctx))
        if endpoint is None:
            return []
        token, directory = endpoint.read_token, endpoint.directory
        seconds = decimal(os.environ.get("SIGNALBOX_COMPLETION_SECONDS", SECONDS))
        box = client.Box(endpoint.url, token, silence=seconds, directory=directory)
        timer = Timer(seconds, box.close)
        timer.daemon = True
        timer.start()
        with box:
            return list(SUGGESTIONS[what](box, incomplete))
    except client.UNREACHABLE:
        return []


def keys(box: client.Box, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a key by its next segment; a prefix goes on."""
    for child in _children(box, incomplete):
        if "key" in child:
            yield CompletionItem(child["key"])
        if "prefix" in child:
            yield CompletionItem(child["prefix"], type=PART)


def prefixes(box: client.Box, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a prefix by its next segment."""
    return (item for item in keys(box, incomplete) if item.type == PART)


def patterns(box: client.Box, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a pattern: keys, and behind a prefix all keys below it."""
    if incomplete.endswith("."):
        yield CompletionItem(f"{incomplete}**")
    if "*" not in incomplete:
        yield from keys(box, incomplete)


def actors(box: client.Box, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete an actor: who sent the last commands, the latest first."""
    attempts = box.query("attempts", limit=MOST)["items"]
    for actor in dict.fromkeys(attempt["actor"] for attempt in attempts):
        if actor.startswith(incomplete):
            yield CompletionItem(actor)


def rules(box: client.Box, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete the name of a rule, segment by segment as a key."""
    for item in keys(box, RULES + incomplete):
        yield CompletionItem(str(item.value).removeprefix(RULES), type=item.type)


SUGGESTIONS: Final[dict[str, Callable[[client.Box, str], Iterator[CompletionItem[str]]]]] = {
    "key": keys,
    "prefix": prefixes,
    "pattern": patterns,
    "actor": actors,
    "rule": rules,
}
"""From a word of the command line that names something of a store to what it may be."""


def _children(box: client.Box, incomplete: str) -> Iterable[dict[str, Any]]:
    """What the tree has with the segment that a key begins with."""
    above, dot, segment = incomplete.rpartition(".")
    # The tree begins after a segment: here after all that sort before this one.
    after = f"{segment[:-1]}{chr(ord(segment[-1]) - 1)}{HIGHEST}" if segment else None
    page = box.query("tree", prefix=above + dot, after=after, limit=MOST)
    return [child for child in page["children"] if child["segment"].startswith(segment)]


def _data_dir(ctx: click.Context) -> Path:
    """The data directory that a command line names, which need not exist. Raises `NotRunning`."""
    context: click.Context | None = ctx
    while context:
        if folder := context.params.get("data_dir"):
            return client.expand_data_dir(folder)
        context = context.parent
    return client.default_data_dir()


# What a shell is told.


class _Completion(ShellComplete):
    """One shell's side of click's protocol."""

    def source(self) -> str:
        """The function that the shell needs."""
        return SCRIPTS[self.name]

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor's, and the beginning of that one."""
        line = os.environ.get("COMP_LINE", "")
        start = last_word(line)
        return split_arg_string(line[:start])[1:], "".join(split_arg_string(line[start:]))

    def format_completion(self, item: CompletionItem[str]) -> str:
        """One line, `type,value`."""
        return f"{item.type},{item.value}"


class BashCompletion(_Completion):
    """Of a completion it gets what replaces readline's word, quoted as the line has it."""

    name = "bash"

    def format_completion(self, item: CompletionItem[str]) -> str:
        """One line, `type,text`; readline's word is COMP_WORD, the end of a word at the cursor."""
        line = os.environ.get("COMP_LINE", "")
        word = line[last_word(line) :]
        before = word.removesuffix(os.environ.get("COMP_WORD", ""))
        quote = before[:1] if before[:1] in ("'", '"') else ""
        text = quote + bash_quoted(str(item.value), quote)
        return f"{item.type},{text[len(before) :] if text.startswith(before) else ''}"


class ZshCompletion(_Completion):
    """Three lines for each: type, value, and help or `_`."""

    name = "zsh"

    def format_completion(self, item: CompletionItem[str]) -> str:
        """The script gives what has help to `_describe`, for which a colon ends the value."""
        if not item.help:
            return f"{item.type}\n{item.value}\n_"
        return f"{item.type}\n{item.value.replace(':', chr(92) + ':')}\n{_one_line(item.help)}"


class FishCompletion(_Completion):
    """`type,value` with help behind a tab."""

    name = "fish"

    def format_completion(self, item: CompletionItem[str]) -> str:
        """One line."""
        told = f"\t{_one_line(item.help)}" if item.help else ""
        return super().format_completion(item) + told


def register() -> None:
    """From now on click completes by these."""
    for shell in (BashCompletion, ZshCompletion, FishCompletion):
        add_completion_class(shell)


def bash_quoted(value: str, quote: str) -> str:
    """`value` inside such quotes, which stay open, or outside any."""
    if quote == "'":
        return value.replace("'", r"'\''")
    if quote == '"':
        return re.sub(r'["$`\\]', r"\\\g<0>", value)
    return LITERAL.sub(r"\\\g<0>", value)


def last_word(line: str) -> int:
    """Where the last word of a shell's line begins; its end where a space is there."""
    start, quote, is_escaped = 0, "", False
    for place, char in enumerate(line, start=1):
        if is_escaped:
            is_escaped = False
        elif char == "\\" and quote != "'":
            is_escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in ("'", '"'):
            quote = char
        elif char.isspace():
            start = place
    return start


def _one_line(text: str) -> str:
    """The help of a completed word, without line breaks."""
    return " ".join(text.split())
