"""`signalbox rule`: list, show, make and remove rules."""

import json
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from signalbox.desktop.arguments import InputFile, LiteralCommand
from signalbox.desktop.cli_client import connect, query_items
from signalbox.desktop.click_types import PATTERN, RULE, OneOf
from signalbox.desktop.exit_status import NO_SUCH_KEY
from signalbox.desktop.json_text import parse_json_argument
from signalbox.desktop.options import at_option, data_dir_option, json_option, read_dir_option
from signalbox.desktop.rule_options import NUMBER, TYPES, record_of
from signalbox.desktop.terminal_output import (
    escape_for_terminal,
    format_value,
    print_ack,
    print_error,
    print_json,
    print_json_lines,
    print_line,
    print_table,
)
from signalbox.ui.formatting import counted

RULES: Final = "_signalbox.rules."


@click.group("rule", context_settings={"help_option_names": ["--help"]})
def rule() -> None:
    """List, show, make and remove rules: what values may be, and when they may change."""


@rule.command("ls", cls=LiteralCommand)
@at_option
@json_option
@read_dir_option
def list_rules(at: str | None, as_json: bool, data_dir: Path) -> None:
    """List the rules: the keys that they are about, and what they ask."""
    with connect(data_dir) as box:
        items = query_items(box, "state", match=f"{RULES}**", at=at)
        rules = ((item["key"].removeprefix(RULES), item["value"]) for item in items)
        if as_json:
            print_json_lines({"name": name, "record": record} for name, record in rules)
        else:
            rows = ((name, _matches(record), _asks(record)) for name, record in rules)
            print_table(("rule", "match", "asks"), rows)


@rule.command("show", cls=LiteralCommand)
@click.argument("name", type=RULE)
@at_option
@json_option
@read_dir_option
def show_rule(name: str, at: str | None, as_json: bool, data_dir: Path) -> int:
    """Print the rule NAME as JSON."""
    with connect(data_dir) as box:
        item = box.item(RULES + name, at=at)
    if item is None:
        return _missing(name)
    if as_json:
        print_json(item["value"])
    else:
        for line in json.dumps(item["value"], ensure_ascii=False, indent=2).splitlines():
            print_line(escape_for_terminal(line))
    return 0


@rule.command("rm", cls=LiteralCommand)
@click.argument("name", type=RULE)
@json_option
@data_dir_option
def remove_rule(name: str, as_json: bool, data_dir: Path) -> int:
    """Remove the rule NAME."""
    with connect(data_dir) as box:
        ack = box.delete(RULES + name)
    if not ack["changed"]:
        return _missing(name)
    print_ack(ack, as_json)
    return 0


@rule.command("set", cls=LiteralCommand)
@click.argument("name", type=RULE)
@click.argument("match", nargs=-1, type=PATTERN)
@click.option("--type", "type_", type=OneOf(TYPES), help="The JSON type of a value.")
@click.option("--min", "least", type=NUMBER, help="The smallest value.")
@click.option("--max", "most", type=NUMBER, help="The largest value.")
@click.option("--step", type=NUMBER, help="Every value is a multiple of this.")
@click.option("--choices", metavar="A,B,…", help="The values, each JSON or else text.")
@click.option("--unit", metavar="TEXT", help="The unit of a value, such as °C.")
@click.option("--title", metavar="TEXT", help="What editors call the key.")
@click.option("--description", metavar="TEXT", help="What editors say about the key.")
@click.option(
    "--requires",
    metavar="KEY=JSON",
    multiple=True,
    help="Only while KEY is this: a value, a schema, or null: it does not exist.",
)
@click.option("--on", metavar="JSON", help="Interlock only writes of this: a value or a schema.")
@click.option("--holds", is_flag=True, help="Required keys are locked as well, meanwhile.")
@click.option("--actor", "actors", metavar="NAME", multiple=True, help="Who may write.")
@click.option("--no-delete", is_flag=True, help="The key cannot be deleted.")
@click.option("--says", metavar="TEXT", help="What whoever is refused reads first.")
@click.option("--json", "file", type=InputFile(), metavar="FILE", help="The rule is in FILE.")
@click.option("--dry-run", is_flag=True, help="Only say how many keys would break it.")
@data_dir_option
def set_rule(
    name: str,
    match: tuple[str, ...],
    file: BinaryIO | None,
    dry_run: bool,
    data_dir: Path,
    **options: Any,
) -> None:
    """Make the rule NAME for the keys that MATCH, or replace it."""
    record = _read_record(match, options, file)
    command = {"type": "set", "key": RULES + name, "value": record, "dry_run": dry_run}
    with connect(data_dir) as box:
        ack = box.command(command)
    as_json = click.get_current_context().find_root().obj.as_json
    if dry_run and not as_json:
        broken = ack["violations"]
        would = counted(broken["total"], "key would break it", "keys would break it")
        print_line(f"{would}, at revision {broken['revision']}")
        for key in broken["keys"]:
            print_line(format_value(key))
    else:
        print_ack(ack, as_json)


def _read_record(match: tuple[str, ...], options: dict[str, Any], file: BinaryIO | None) -> Any:
    """The record of a rule: that of a file, else what the options say. Raises `UsageError`."""
    if file is not None:
        if match or any(
            said is not None and said is not False and said != () for said in options.values()
        ):
            raise click.UsageError("--json has the whole rule: leave out MATCH and other options.")
        return parse_json_argument(file.read().decode(errors="surrogateescape"))
    if not match:
        raise click.UsageError("MATCH is missing.")
    return record_of(match, options)


def _matches(record: Any) -> str:
    """The patterns of a rule, as a list has them."""
    patterns = record.get("match") if isinstance(record, dict) else None
    return format_value(", ".join(patterns) if isinstance(patterns, list) else patterns)


def _asks(record: Any) -> str:
    """What a rule has beside its patterns, as a list has it."""
    if not isinstance(record, dict):
        return format_value(record)
    return format_value({name: said for name, said in record.items() if name != "match"})


def _missing(name: str) -> int:
    """Say that there is no such rule; the exit status."""
    print_error(f"There is no rule {name}.")
    return NO_SUCH_KEY
