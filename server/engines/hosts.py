"""Which of an address's servers is joined: the first one that is not cut off from the others."""

from collections.abc import Callable
from time import monotonic
from typing import Final

from signalbox.server.engines.address import Address
from signalbox.server.engines.base import LogStatus
from signalbox.server.model.errors import Unavailable

CUT_OFF_SECONDS: Final = 30.0
"""So long a server that answers, but is cut off, is asked again before another one is joined: it
mostly comes back, and who stays does not have to be found again by everybody at once."""


class Partitioned(Unavailable):
    """A server that answers and may not know what the others have decided meanwhile."""


class Hosts:
    """Remembers which one was joined last."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._joined: int | None = None
        self._cut_off_since: float | None = None

    def join(self, join: Callable[[Address], LogStatus]) -> LogStatus:
        """What `join` makes of the first server that it can join.

        Raises `Unavailable` where there is none, and what else `join` raises.
        """
        first, number = self._joined or 0, len(self._address.hosts)
        problems: list[str] = []
        for place in (*range(first, number), *range(first)):
            try:
                status = join(self._address.at(place))
            except Unavailable as error:
                problems.append(str(error))
                if (
                    isinstance(error, Partitioned)
                    and place == self._joined
                    and self._may_come_back()
                ):
                    break
            else:
                self._joined, self._cut_off_since = place, None
                return status
        raise Unavailable(" ".join(problems))

    def _may_come_back(self) -> bool:
        now = monotonic()
        self._cut_off_since = self._cut_off_since or now
        return now < self._cut_off_since + CUT_OFF_SECONDS
