"""Numbers that are huge, negative or odd: taken, or refused in one sentence, wherever they go."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from support.command_line import Shell
from support.harness import Server
from support.raw_http import JSON, Client, serving

HUGE = ("9" * 18, str(2**63 - 1), str(2**63), "9" * 20, "9" * 5_000)
ODD = ("-1", "0", "1e3", "1.5", "1.0", "-0", "+1", " 1", "1_0", "0x10", "nan", "inf", "٣", "²", "")
BEFORE_ALL = "signalbox: Nothing was there then: the first change came later.\n"
BROKEN = ("Traceback", "Error:", "object at 0x", "internal")

QUERIES = (
    "state?limit={}",
    "state?at={}",
    "state?sort=changed&after={}.a",
    "state/a?at={}",
    "tree?limit={}",
    "history/a?before={}",
    "history/a?limit={}",
    "diff?from={}",
    "diff?from=0&to={}",
    "attempts?limit={}",
    "attempts?before={}",
    "attempts?before={}.0",
    "export?history=1&after={}",
)
COMMANDS = (
    '{"type":"set","key":"a","value":3,"dry_run":true,"expect":{"revision":NUMBER}}',
    '{"type":"set","key":"a","value":3,"dry_run":true,"expect":{"store_revision":NUMBER}}',
    '{"type":"add","key":"a","dry_run":true,"by":NUMBER}',
    '{"type":"undo","dry_run":true,"replace":{"a":NUMBER}}',
    '{"type":"undo","dry_run":true,"keep":[NUMBER]}',
    '{"type":"restore","dry_run":true,"to_revision":NUMBER}',
    '{"type":"set","key":"_signalbox.retention","dry_run":true,"value":{"max_age":NUMBER}}',
    '{"type":"set","key":"_signalbox.retention","dry_run":true,"value":{"max_age":"NUMBERd"}}',
    '{"type":"set","key":"a","dry_run":NUMBER,"value":1}',
    '{"type":NUMBER}',
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("numbers") / "store") as server:
        with Client(server) as client:
            client.send("set", key="a", value=1)
            client.send("set", key="a", value=2)
        yield server


@pytest.fixture(scope="module")
def shell(box: Server) -> Shell:
    return Shell(box.data_dir)


@pytest.mark.parametrize("words", ["ls", "log", "history a", "history a --json", "ls --json"])
@pytest.mark.parametrize("number", HUGE)
def test_a_huge_limit_limits_nothing(shell: Shell, words: str, number: str) -> None:
    usual = shell.ok(*words.split())
    assert shell.ok(*words.split(), f"--limit={number}") == usual


@pytest.mark.parametrize("number", HUGE)
def test_older_than_a_huge_revision_is_everything(shell: Shell, number: str) -> None:
    assert shell.ok("history", "a", f"--before={number}") == shell.ok("history", "a")


@pytest.mark.parametrize("number", HUGE)
def test_a_watch_may_have_a_huge_count(shell: Shell, number: str) -> None:
    assert shell.ok("watch", f"--count={number}", "--until=2") == "a\t2\n"


@pytest.mark.parametrize(
    "words",
    [
        *("ls --limit={}", "log --limit={}", "history a --limit={}", "history a --before={}"),
        *("ls --at={}", "get a --at={}", "tree --at={}", "export --at={}", "diff {} now"),
        *("diff 0 {}", "restore --dry-run {}", "undo --replace=a={}", "set a 3 --expect={}"),
        *("watch --after={} --count=1", "watch --count={} --until=2", "replay x --speed={}"),
    ],
)
def test_the_command_line_takes_a_number_or_says_what_is_allowed(shell: Shell, words: str) -> None:
    for number in (*HUGE, *ODD):
        done = shell(*(word.replace("{}", number) for word in words.split(" ")))
        assert done.status in (0, 1, 2, 3), (number, done)
        said = done.err.replace("\nError:", "")
        assert not any(word in said for word in BROKEN), (number, done)
        assert (done.err in ("", BEFORE_ALL)) == (done.status == 0), (number, done)
        assert len(done.err) < 500, (number, done)


def test_so_does_the_server(box: Server) -> None:
    with Client(box) as client:
        for number in (*HUGE, *ODD):
            for query in QUERIES:
                answer = client.ask("GET", "/queries/" + query.format(quote(number, safe="")))
                _check(answer.status, answer.body, (query, number))
            for command in COMMANDS:
                body = command.replace("NUMBER", number).encode()
                answer = client.ask("POST", "/commands", body, JSON)
                _check(answer.status, answer.body, (command, number))


def _check(status: int, body: bytes, about: tuple[str, str]) -> None:
    text = body.decode()
    assert status < 500, (*about, text)
    assert not any(word in text for word in BROKEN), (*about, text)


def test_a_refusal_shows_a_number_as_it_was_given(box: Server) -> None:
    with Client(box) as client:
        body = COMMANDS[0].replace("NUMBER", "9" * 5_000).encode()
        refused = client.ask("POST", "/commands", body, JSON).json()
        answer = client.get("history/a", before="9" * 19).json()
    assert refused["message"].startswith('The field expect is {"revision": 9999')
    assert answer["message"].endswith(
        "allowed is a revision, an integer from 0 with at most 18 digits."
    )
