"""What the server refused, said in the options and arguments of the command line."""

from typing import Final

from signalbox import client

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


def _existing_keys(error: client.Rejected) -> str:
    """The refusal for keys that exist already; the server names at most 100."""
    others = len(error.keys) - 1
    first = f"{error.key} exists already, at revision {error.revision}"
    more = f", and so do {others} more" if others else ""
    return f"{first}{more}; --replace overwrites what is there."
