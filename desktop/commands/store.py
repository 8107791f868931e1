"""`backup`, `verify`, `rebuild`, `compact`, `token`, `path`, `serve`: the store itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from signalbox.desktop.commands import (
    CANNOT_OPEN,
    REJECTED,
    complain,
    connect,
    file_dir_option,
    json_option,
    print_json,
    read_dir_option,
    visible,
    where_option,
)
from signalbox.desktop.commands.progress import Bar
from signalbox.desktop.commands.tables import print_rows


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@file_dir_option
def backup(file: Path, as_json: bool, data_dir: Path) -> int:
    """Copy the store as it is at one moment to FILE."""
    from signalbox.server import maintenance  # noqa: PLC0415 - only what works on the file needs the server

    def copy() -> int:
        size = maintenance.backup(data_dir, file)
        if as_json:
            print_json({"file": str(file), "bytes": size})
        else:
            click.echo(f"{file}: {size:,} bytes")
        return 0

    return _with_store(copy)


@click.command("verify")
@json_option
@file_dir_option
def verify(as_json: bool, data_dir: Path) -> int:
    """Check that the file is sound and that replaying the log gives the state."""
    from signalbox.server import maintenance  # noqa: PLC0415 - as above

    return _with_store(lambda: _report(maintenance.verify(data_dir), as_json))


@click.command("rebuild")
@json_option
@file_dir_option
def rebuild(as_json: bool, data_dir: Path) -> int:
    """Make the state anew from the event log; not beside a running server."""
    from signalbox.server import maintenance  # noqa: PLC0415 - as above

    def work() -> int:
        with Bar("Replaying") as bar:
            report = maintenance.rebuild(data_dir, bar.show)
        return _report(report, as_json)

    return _with_store(work)


@click.command("compact")
@click.option("--dry-run", is_flag=True, help="Print what would go, and remove nothing.")
@click.option("--confirm", is_flag=True, help="This computer's clock is right, though it leapt.")
@json_option
@read_dir_option
def compact(dry_run: bool, confirm: bool, as_json: bool, data_dir: Path) -> None:
    """Remove now what retention lets go from the history."""
    with connect(data_dir) as box:
        report = box.compact(dry_run=dry_run, confirm=confirm)
    if as_json:
        print_json(report)
        return
    if problem := report["clock"]["problem"]:
        complain(problem)
    go = "would go" if dry_run else "have gone"
    click.echo(
        f"{report['changes']:,} changes in {report['transactions']:,} transactions {go}; "
        f"from revision {report['oldest_revision']:,} on everything is kept"
    )
    rows = (
        (
            one["prefix"] or "**",
            one["max_age"] or "for ever",
            f"{one['changes']:,}",
            str(one["revision"]),
            one["at"] or "",
        )
        for one in report["prefixes"]
    )
    print_rows(("prefix", "kept for", "changes", "whole from revision", "of"), rows)


@click.command("token")
@click.option("--rotate", is_flag=True, help="Make new ones; all others are worth nothing then.")
@click.option("--login", is_flag=True, help="Print a one-time address for a browser.")
@json_option
@file_dir_option
def token(rotate: bool, login: bool, as_json: bool, data_dir: Path) -> int:
    """Print the tokens of the store."""
    if login:
        from signalbox.server.settings import address_lines  # noqa: PLC0415 - as above

        with connect(data_dir, start=False) as box:
            url = box.login()
        print_json({"url": url}) if as_json else click.echo(address_lines(url))
        return 0
    from signalbox.server import maintenance  # noqa: PLC0415 - as above

    def show() -> int:
        if rotate:
            maintenance.rotate_tokens(data_dir)
        tokens = maintenance.tokens(data_dir)
        if as_json:
            print_json(tokens)
        else:
            click.echo(f"read   {tokens['read_token']}\nwrite  {tokens['write_token']}")
        return 0

    return _with_store(show)


@click.command("path")
@json_option
@where_option
def path(as_json: bool, data_dir: Path) -> None:
    """Print where the store is."""
    file = data_dir / "signalbox.db"
    print_json({"data_dir": str(data_dir), "store": str(file)}) if as_json else click.echo(file)


def _serve() -> click.Command:
    from signalbox.server.settings import TABLE  # noqa: PLC0415 - as above

    options = [click.Option([setting.option], help=setting.help) for setting in TABLE]
    options.append(click.Option(["--json"], is_flag=True, help="Print one JSON line when ready."))
    text = "Run the server without a window, until it is stopped."
    return click.Command("serve", params=list(options), help=text, callback=_served_first)


def _served_first(**_: Any) -> None:
    """`desktop.__main__` starts the server before all imports; here it has but its help."""
    raise click.UsageError("serve is a program of its own: signalbox serve --data-dir D …")


def _report(report: dict[str, Any], as_json: bool) -> int:
    if as_json:
        print_json(report)
    else:
        found = "sound" if report["ok"] else "DAMAGED"
        known = report["keys"] is not None  # else there was no reading on
        about = f": revision {report['revision']:,}, {report['keys']:,} keys" if known else ""
        click.echo(found + about)
        for line in (*report["problems"], report["advice"], *report["notes"]):
            if line:
                click.echo(visible(f"  {line}"))
    return 0 if report["ok"] else REJECTED


def _with_store(work: Callable[[], int]) -> int:
    from signalbox.server.model.errors import StoreError  # noqa: PLC0415 - as above

    try:
        return work()
    except StoreError as error:
        complain(str(error))
        return CANNOT_OPEN


SUBCOMMANDS: Final = (backup, verify, rebuild, compact, token, path, _serve())
