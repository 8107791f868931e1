"""Addresses of engines: what one says, and that a wrong one is refused without its secrets."""

import re
from pathlib import Path

import pytest

from signalbox.server.engines.address import AddressError, read_address
from signalbox.server.model.errors import StoreError
from signalbox.server.settings import read_settings
from support.command_line import Shell

SECRET = "geheim"
USAGE = 2


def test_an_address_is_taken_apart() -> None:
    found = read_address("rediss://me:p%2F%3F%23%40w@one,[::1]:7000/3?stream=team&wait=1,2\n")
    assert (found.scheme, found.user, found.password) == ("rediss", "me", "p/?#@w")
    assert found.hosts == (("one", 6379), ("[::1]", 7000))
    assert (found.database, found.stream, found.options) == (3, "team", {"wait": "1,2"})
    assert found.redacted == "rediss://one:6379,[::1]:7000/3?stream=team"


def test_a_file_may_have_any_name() -> None:
    found = read_address("nats://me:word@host/team?creds=/home/me@work/team.creds")
    assert found.options == {"creds": "/home/me@work/team.creds"}


@pytest.mark.parametrize(
    "text",
    [
        "nats://me:gehe/im@host/team",
        "nats://me:12/geheim@host/team",
        "redis://:gehe#im@host/0",
        "redis://:12#geheim@host/0",
        "redis://:gehe?im@host/0",
        "redis://me:12?geheim@host/0",
        "redis://me:12?wait=geheim@host/0",
        "nats://me:gehe@im@host/team",
        "nats://me:geheim@one,me:geheim@two/team",
    ],
)
def test_a_password_that_is_not_encoded_is_explained_and_not_repeated(text: str) -> None:
    with pytest.raises(AddressError, match="percent-encoded") as refused:
        read_address(text)
    assert not re.search("gehe|im@|12", str(refused.value))


@pytest.mark.parametrize(
    "text",
    [
        "nats://me:geheim@[::1/team",
        "nats://me:geheim@[::1]x/team",
        "nats://me:geheim@host:0/team",
        "nats://me:geheim@host:99999/team",
        "nats://me:geheim",
        "redis://:geheim",
        "nats://me:geheim@/team",
        "nats://me:geheim@h\u2100st:port/team",
        "nats://me:geheim@host/a.b",
        "nats://me:geheim@host/team?replicas=" + "9" * 5_000,
        "natss://me:geheim@host/team",
        "nats:/me:geheim@host/team",
        "me:geheim@host/team",
        "geheim@host/team",
    ],
)
def test_no_refusal_repeats_a_password(text: str) -> None:
    with pytest.raises(StoreError) as refused:
        read_settings({"engine": text})
    assert SECRET not in str(refused.value)
    with pytest.raises(AddressError):
        read_address(text)


def test_no_subcommand_repeats_a_password(tmp_path: Path) -> None:
    shell, address = Shell(tmp_path / "store"), "nats://me:geheim@[::1/team"
    for asked in (("migrate", "--to", address), ("--engine", address, "ls"), ("ls",)):
        done = shell(*asked, env={"SIGNALBOX_ENGINE": "" if address in asked else address})
        assert done.status in (USAGE, 4)
        assert SECRET not in done.out + done.err
        assert "neither HOST nor HOST:PORT" in done.err


@pytest.mark.parametrize("wait", ["1,2,3", "1,", ",1", "-1", "x", "1,1000"])
def test_copies_to_wait_for_are_one_number_or_two(wait: str) -> None:
    with pytest.raises(AddressError, match="LOCAL,REPLICAS"):
        read_address(f"redis://host/0?wait={wait}")


@pytest.mark.parametrize("wait", ["0", "1", "0,1", "1,12"])
def test_copies_to_wait_for_may_be_of_this_server_and_of_replicas(wait: str) -> None:
    assert read_address(f"redis://host/0?wait={wait}").options == {"wait": wait}
