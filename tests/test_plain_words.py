"""Messages about a faulty text or file are in our words, and show invisible characters."""

from pathlib import Path

import apsw
import pytest

from signalbox.desktop.commands import import_
from signalbox.server.formats import import_file, text_lines
from signalbox.server.model import values
from signalbox.server.model.errors import Malformed
from support.command_line import Shell
from support.harness import Server


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"plain", "its character 1, 'p', is not allowed there"),
        (b'{"a": 1,\n "b": x}', "its character 16, 'x', is not allowed there"),
        (b"[1] 2", "its character 5, '2', is not allowed there"),
        (b'["\x01"]', "its character 3, '\\x01', is not allowed there"),
        (b'["open]', "the string that begins at its character 2 does not end"),
        (b"[1, ", "it ends where more is needed"),
        (b"", "it ends where more is needed"),
    ],
)
def test_where_a_text_stops_being_json_is_reported(body: bytes, why: str) -> None:
    with pytest.raises(Malformed) as refused:
        values.decode(body, "The value")
    assert refused.value.message == f"The value is not JSON: {why}."


def test_verify_shows_on_a_terminal_what_is_not_seen(tmp_path: Path) -> None:
    server = Server(tmp_path / "store")
    server.set("lamp", 1)
    assert server.stop() == 0
    connection = apsw.Connection(str(tmp_path / "store" / "signalbox.db"))
    connection.execute("UPDATE state SET value = ?", ('"a\u202eb\u009bc"',))
    connection.close()
    out = Shell(tmp_path / "store").on_terminal("verify").out
    assert "a\\u202eb\\x9bc" in out
    assert not {"\u202e", "\u009b"} & set(out)


def test_the_command_line_offers_the_formats_and_encodings_that_the_server_reads() -> None:
    assert import_.ENCODINGS == text_lines.ENCODINGS
    assert set(import_.MEDIA_TYPES) == set(import_file.READERS)
    for kind, media in import_.MEDIA_TYPES.items():
        assert import_file.MEDIA_TYPES[media] in (kind, None)
    assert import_file.MEDIA_TYPES[import_.UNKNOWN_TYPE] is None
