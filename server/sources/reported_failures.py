"""Failures to measure, each logged once, not every second."""

import logging
from typing import Final

from signalbox.server.runtime.error_messages import reason

logger: Final = logging.getLogger(__name__)


class ReportedFailures:
    """Failures to measure, each logged once, not every second."""

    def __init__(self) -> None:
        """No failure to measure was logged yet."""
        self._reported: set[str] = set()

    def report(self, what: str, error: Exception) -> None:
        """Log a failed measurement, once for each thing that is measured."""
        if what not in self._reported:
            self._reported.add(what)
            logger.warning("%s could not be measured and is tried again: %s.", what, reason(error))
