"""`signalbox serve` as a click command: its help, and what is wrong with its options."""

from collections.abc import Callable

import click

from signalbox.server.settings import TABLE
from signalbox.server.usage_errors import translate_usage_error


def run_command(arguments: list[str], run: Callable[..., int]) -> int:
    """Have click parse the arguments and call `run` with the options; the exit status."""
    try:
        result = _command(run).main(arguments, prog_name="signalbox serve", standalone_mode=False)
        return int(result or 0)
    except click.ClickException as error:
        translate_usage_error(error).show()
        return error.exit_code


def _command(run: Callable[..., int]) -> click.Command:
    """The click command with an option for every setting."""
    options: list[click.Parameter] = [
        click.Option(
            [setting.option, setting.name],
            help=setting.help,
            envvar=None,
            is_flag=setting.is_flag,
            default=None,
        )
        for setting in TABLE
    ]
    options.append(
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON line when ready.")
    )
    return click.Command(
        "serve", callback=run, params=options, help="Run the server without a window."
    )
