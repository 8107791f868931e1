"""A data directory that was copied is another node, whatever it brought along."""

import shutil
import sqlite3
from contextlib import closing

from signalbox.server.store.file_names import STORE_FILE
from support.nodes import Site, log_status, post, until


def test_a_copied_folder_is_a_node_of_its_own(site: Site) -> None:
    first = site.node()
    first.set("k", 1)
    name = log_status(first)["node"]
    first.stop()
    target = first.data_dir.with_name("copy")
    shutil.copytree(first.data_dir, target)
    other, again = site.node(folder=target), site.again(first)
    assert (log_status(again)["node"], again.port) == (name, first.port)
    assert log_status(other)["node"] != name
    # The outcomes of one node reach the streams of the other.
    with again.stream(acks=True) as stream:
        stream.until("caught-up")
        told = post(other, "set", key="k", value=2, id="of-the-copy", expect="absent")
        assert told["code"] == "conflict"
        assert stream.until("ack")[-1].data["id"] == "of-the-copy"


def test_a_folder_that_is_only_renamed_stays_the_same_node(site: Site) -> None:
    first = site.node()
    name = log_status(first)["node"]
    first.stop()
    moved = first.data_dir.rename(first.data_dir.with_name("moved"))
    again = site.node(folder=moved)
    assert (log_status(again)["node"], again.port) == (name, first.port)


def test_two_nodes_of_one_name_hear_of_each_other_and_get_names_of_their_own(site: Site) -> None:
    """As with a copy that an earlier Signalbox was started on, or that of a whole computer."""
    first = site.node()
    name = log_status(first)["node"]
    first.stop()
    with closing(sqlite3.connect(first.data_dir / STORE_FILE)) as store, store:
        store.execute("DELETE FROM meta WHERE name = 'home'")
    target = first.data_dir.with_name("copy")
    shutil.copytree(first.data_dir, target)
    pair = [site.again(first), site.node(folder=target)]
    assert [log_status(node)["node"] for node in pair] == [name, name]
    for one, other in (pair, pair[::-1]):
        with one.stream(acks=True) as stream:
            stream.until("caught-up")
            assert post(other, "set", key="k", value=2, expect="present")["code"] == "conflict"
            assert stream.until("ack")[-1].data["code"] == "conflict"
        until(lambda one=one: f"is called {name} as well" in (log_status(one)["problem"] or ""))  # type: ignore[misc]
    for node in pair:
        node.stop()
    names = {log_status(site.again(node))["node"] for node in pair}
    assert len({*names, name}) == 3
