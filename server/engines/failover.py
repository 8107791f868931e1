"""Failover: which server of an address with several hosts is connected to."""

from collections.abc import Callable
from time import monotonic
from typing import Final

from signalbox.server.engines.address import Address
from signalbox.server.engines.shared_log import LogStatus, Partitioned
from signalbox.server.model.errors import Unavailable

PARTITION_SECONDS: Final = 30.0
"""How long a partitioned server is tried again before another one is used: a partition mostly heals
within that time, and no node has to look for its server anew."""


class ServerFailover:
    """Connects to the first available server of an address, and stays with it while it can."""

    def __init__(self, address: Address) -> None:
        """Tries the servers that `address` names; none is connected to yet."""
        self._address = address
        self._current: int | None = None
        """The index of the host that was connected to last."""
        self._partitioned_since: float | None = None

    def connect(self, connect: Callable[[Address], LogStatus]) -> LogStatus:
        """Call `connect` for one host after another; the status from the first that succeeds.

        Raises `Unavailable` if none succeeds, `Partitioned` if one may once its servers have agreed
        on a leader, and whatever else `connect` raises.
        """
        first, number = self._current or 0, len(self._address.hosts)
        problems, kind = list[str](), Unavailable
        for index in (*range(first, number), *range(first)):
            try:
                status = connect(self._address.at(index))
            except Unavailable as error:
                problems.append(str(error))
                kind = Partitioned if isinstance(error, Partitioned) else kind
                is_current = isinstance(error, Partitioned) and index == self._current
                if is_current and self._may_heal():
                    break
            else:
                self._current, self._partitioned_since = index, None
                return status
        raise kind(" ".join(problems))

    def _may_heal(self) -> bool:
        """Whether the current server's partition is recent enough to wait for its end."""
        now = monotonic()
        self._partitioned_since = self._partitioned_since or now
        return now < self._partitioned_since + PARTITION_SECONDS
