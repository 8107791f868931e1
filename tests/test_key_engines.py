"""Keys as people have them on every engine: written, read by another node, and rebuilt."""

from pathlib import Path

from signalbox.server import maintenance
from support.brokers import Options
from support.desktop_window import until
from support.hostile_inputs import ODD_KEY_NAMES
from support.raw_http import Client, assert_sound, lines, serving


def test_every_name_goes_through_the_log(engine: Options, tmp_path: Path) -> None:
    options = engine()
    state = {key: key for key in ODD_KEY_NAMES}
    with serving(tmp_path / "one", *options) as server, Client(server) as client:
        client.load(lines(*({"type": "set", "key": key, "value": key} for key in ODD_KEY_NAMES)))
        client.send("rename", key="Küche.", to="Bad.")
        client.send("undo")
        assert client.state() == state
        if "://" in " ".join(options):
            with serving(tmp_path / "two", *options) as other, Client(other) as reader:
                until(lambda: reader.state() == state, "the other node has all of them")
    assert_sound(tmp_path / "one")
    assert maintenance.rebuild(tmp_path / "one")["ok"]
    with serving(tmp_path / "one", *options) as server, Client(server) as client:
        assert client.state() == state
