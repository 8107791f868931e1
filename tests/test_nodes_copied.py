"""A data directory that was copied is another node, whatever it brought along."""

import shutil

from nodes import Site, post, standing


def test_a_copied_folder_is_a_node_of_its_own(site: Site) -> None:
    first = site.node()
    first.set("k", 1)
    name = standing(first)["node"]
    first.stop()
    target = first.data_dir.with_name("copy")
    shutil.copytree(first.data_dir, target)
    other, again = site.node(folder=target), site.again(first)
    assert (standing(again)["node"], again.port) == (name, first.port)
    assert standing(other)["node"] != name
    # What one of them was asked reaches those who listen at the other.
    with again.stream(acks=True) as stream:
        stream.until("caught-up")
        told = post(other, "set", key="k", value=2, id="of-the-copy", expect="absent")
        assert told["code"] == "conflict"
        assert stream.until("ack")[-1].data["id"] == "of-the-copy"


def test_a_folder_that_is_only_renamed_stays_the_same_node(site: Site) -> None:
    first = site.node()
    name = standing(first)["node"]
    first.stop()
    moved = first.data_dir.rename(first.data_dir.with_name("moved"))
    again = site.node(folder=moved)
    assert (standing(again)["node"], again.port) == (name, first.port)
