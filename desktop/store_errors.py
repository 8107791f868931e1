"""Subcommands that open the store themselves: an error of the store becomes an exit status."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from signalbox.desktop.exit_status import CANNOT_OPEN
from signalbox.desktop.terminal_output import print_error

Parameters = ParamSpec("Parameters")


def report_store_errors(
    subcommand: Callable[Parameters, int | None],
) -> Callable[Parameters, int | None]:
    """The subcommand, which prints why a store cannot be opened and ends with `CANNOT_OPEN`."""

    @wraps(subcommand)
    def reporting(*args: Parameters.args, **kwargs: Parameters.kwargs) -> int | None:
        from signalbox.desktop import single_instance  # noqa: PLC0415 - not before it runs
        from signalbox.server.model.errors import StoreError, StoreInUse  # noqa: PLC0415 - as above

        try:
            return subcommand(*args, **kwargs)
        except StoreError as error:
            if isinstance(error, StoreInUse) and single_instance.has_open_window(
                Path(error.folder)
            ):
                print_error(f"A window of {error.folder} is open: close it first.")
            else:
                print_error(str(error))
            return CANNOT_OPEN

    return reporting
