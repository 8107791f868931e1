"""Requests to JetStream's API: sending one, decoding its answer, and what its error codes mean.

See https://docs.nats.io/reference/reference-protocols/nats_api_reference.
"""

from typing import Any, Final, TypeVar

import msgspec
from nats.aio.client import Client

from signalbox.server.engines.jetstream.connection import SECONDS, RequestFailed
from signalbox.server.engines.shared_log import LogMetadata
from signalbox.server.model.errors import StoreError

Decoded = TypeVar("Decoded")

CONFLICTS: Final = (10071, 10164, 10070, 10201)
"""Wrong last sequence, the same with another append under way, wrong last message id, a message id
of the batch that is stored already."""
NO_STREAM: Final = 10059
NAME_TAKEN: Final = 10058
IMPOSSIBLE: Final = (10065, 10074, 10039, 10076)
"""Errors that a retry cannot fix: subject in use, no cluster, JetStream not enabled."""
METADATA_NAME: Final = "signalbox.foundation"
"""The name of the log's metadata among the stream's."""
_FULL: Final = "its storage is full, or used up for this account"
_MEANINGS: Final = {
    10002: _FULL,
    10004: "too few of its servers reach each other",
    10005: "it has too few servers for so many replicas",
    10008: "JetStream is not ready there yet",
    10009: "it leads nothing, and the one that leads does not answer",
    10023: _FULL,
    10028: _FULL,
    10039: "JetStream is not enabled for this account",
    10047: _FULL,
    10054: "the message is larger than the stream takes",
    10058: "there is another stream of that name",
    10059: "there is no such stream",
    10065: "another stream has a subject that overlaps with the log's",
    10074: "it is one server without a cluster, which keeps no replicas",
    10076: "JetStream is not enabled there",
    10077: "the stream has as many messages or bytes as it may",
}
"""By JetStream's error codes (`errors.json` of nats-server)."""


class Answer(msgspec.Struct):
    """An answer of the API, or to a publish. A field that it lacks has its default."""

    seq: int = 0
    name: str = ""
    error_: dict[str, Any] = msgspec.field(default_factory=dict, name="error")
    config: dict[str, Any] = {}
    state: dict[str, Any] = {}
    cluster: dict[str, Any] | None = None

    @property
    def error(self) -> str:
        """Why the request failed, as a part of a sentence; empty where it succeeded."""
        if not self.error_:
            return ""
        return _MEANINGS.get(self.code, f"it refuses with error {self.code}")

    @property
    def code(self) -> int:
        """The error code of JetStream's API; 0 where the request succeeded."""
        return int(self.error_.get("err_code") or self.error_.get("code") or 0)

    @property
    def is_conflict(self) -> bool:
        """Whether JetStream refused an append since it does not follow the last message."""
        return self.code in CONFLICTS

    @property
    def last_sequence(self) -> int:
        """The last sequence of the stream, where the answer has its state."""
        return int(self.state.get("last_seq", 0))

    def metadata(self, address: str) -> LogMetadata:
        """The log's metadata. Raises `StoreError` if the stream is not one of ours."""
        text = (self.config.get("metadata") or {}).get(METADATA_NAME)
        if text is None:
            raise StoreError(f"The stream at {address} is not a log of Signalbox: choose another.")
        try:
            return msgspec.json.decode(text, type=LogMetadata)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise StoreError(
                f"The metadata of the log at {address} cannot be read: it is damaged, or of a "
                "newer Signalbox."
            ) from error


async def request(client: Client, subject: str, body: Any = None) -> Answer:
    """Send one request to the API, without the `$JS.API.` of its subject; the answer."""
    data = b"" if body is None else msgspec.json.encode(body)
    message = await client.request(f"$JS.API.{subject}", data, timeout=SECONDS)
    return decode_answer(message.data, Answer)


def decode_answer(data: bytes, kind: type[Decoded]) -> Decoded:
    """The JSON that a server has sent. Raises `RequestFailed` if it has another form."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestFailed("it answers in a form that Signalbox does not know") from error
