"""A command id that one node has forgotten and another has not."""

from support.nodes import Site, post, status, until


def test_an_id_that_is_used_again_where_it_was_forgotten_stops_nobody(site: Site) -> None:
    """Retention thins out each replica in its own time."""
    keeps, forgets = site.nodes(2)
    assert post(forgets, "set", key="k", value=1, id="again")["status"] == "accepted"
    until(lambda: status(keeps)["revision"] == 1)
    keeps.stop()
    forgets.set("k", 2)
    forgets.set("_signalbox.retention", {"max_age": "0s"})
    until(lambda: forgets.get("/queries/attempts/again").status == 404)
    told = post(forgets, "set", key="k", value=3, id="again")
    assert (told["status"], told["duplicate"], told["revision"]) == ("accepted", False, 4)
    forgets.set("k", 4)
    back = site.again(keeps)
    assert (status(back)["revision"], back.value("k")) == (5, 4)
    assert back.get("/queries/attempts/again").json()["revision"] == 4
    assert back.stop() == 0
    assert back.stderr.read_text() == ""
