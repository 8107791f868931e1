"""What the server refused, said in the options and arguments of the command line."""

from contextlib import suppress
from typing import Final

from signalbox import client
from signalbox.desktop.terminal_output import print_error
from signalbox.server.model.numbers import is_whole

NAMES: Final = {"add": {"by": "N"}, "mv": {"to": "NEW"}}
"""From a subcommand to what it calls a field; of others it is the option of that name."""


def refusal_text(subcommand: str, error: client.Rejected) -> str:
    """One or two sentences on stderr; the server's own where they name no field."""
    if subcommand == "mv" and error.code == "conflict":
        return _existing_keys(error)
    if error.field == "keep":
        return f"The key {error.key} is given to --keep and to --replace; only one can be."
    if error.field is None:
        return error.message
    name = NAMES.get(subcommand, {}).get(error.field, f"--{error.field}")
    for noun in ("field", "parameter"):
        subject = f"The {noun} {error.field} "
        if error.message.startswith(subject):
            return f"{name} {error.message.removeprefix(subject)}"
    return error.message  # it has no name of a field in it


def missing_key_text(key: str, at: str | None = None, has_history: bool = True) -> str:
    """That there is no such key, or was none `at` a moment."""
    from signalbox.server.model.errors import quoted  # noqa: PLC0415 - only for what is not there

    if at is not None:
        return f"There was no key {quoted(key)} then."
    never = "" if has_history else ", and never was as far back as the history goes"
    return f"There is no key {quoted(key)}{never}."


def print_keys_below(box: client.Box, word: str, at: str | None, *command: str) -> None:
    """Print on stderr how to list or delete what is below `word`, which names no key or nothing.

    `command` are the words of the advice for a prefix, as `rm` and `build.`; for keys that go on
    with a slash, which make no prefix, and where there is none, it is `ls` with a pattern.
    """
    from signalbox.server.settings import shell_command  # noqa: PLC0415 - only for what is not there

    if not word or "*" in word:
        return
    for below in (f"{word}.", f"{word}/"):
        pattern = f"{below}**"
        with suppress(client.Rejected):  # for what can be no prefix there is no advice
            if box.query("state", match=pattern, at=at, limit=1)["items"]:
                words = command if command and below.endswith(".") else ("ls", pattern)
                print_error(f"There are keys below {below} instead: {shell_command(*words)}")


def future_revision_text(box: client.Box, moment: str) -> str | None:
    """That there is no such revision yet; None where there is, or for another kind of moment."""
    if not is_whole(moment) or int(moment) <= (newest := box.revision()):
        return None
    return f"There is no revision {moment[:30]} yet; the store is at revision {newest}."


def _existing_keys(error: client.Rejected) -> str:
    """The refusal for keys that exist already; the server names at most 100."""
    others = len(error.keys) - 1
    first = f"{error.key} exists already, at revision {error.revision}"
    more = f", and so do {others} more" if others else ""
    return f"{first}{more}; --replace overwrites what is there."
