"""What the server refuses is said in the options of the command line, ready to paste."""

import shlex
from collections.abc import Iterator

import pytest

from support.command_line import Shell
from support.harness import Server
from support.raw_http import serving


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("refusals") / "store") as server:
        yield server


@pytest.fixture
def shell(box: Server) -> Shell:
    return Shell(box.data_dir)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "n", '"x"'], 'N is "x"; allowed is a number.'),
        (["mv", "a.", "b"], 'NEW is "b" where key is "a."; either both end with a dot'),
        (["mv", "a.", "a.b."], 'NEW is "a.b."; allowed is what does not lie inside key, "a.".'),
        (["undo", "--of", "a b"], '--of is "a b"; it is the id of a command.'),
        (["undo", "--actor", "a b"], '--actor is "a b"; allowed are 1 to 64 of'),
        (["undo", "--keep", "k", "--replace", "k=1"], "given to --keep and to --replace; only one"),
        (["ls", "--search", "x" * 10_001], "--search has 10001 characters; at most"),
        (["watch", "--after", "x"], "--after is 'x'; allowed are"),
        (["get", "k", "--at", "99999"], "There is no revision 99999 yet; the store is at revision"),
        (["watch", "--after", "99999"], "There is no revision 99999 yet; the store is at revision"),
        (["diff", "0", "99999"], "There is no revision 99999 yet; the store is at revision"),
        (["run", "a*", "--", "ls"], "NAME is 'a*'. The key \"a*.status\" has a *, which only"),
    ],
)
def test_a_field_is_called_as_the_command_line_calls_it(
    shell: Shell, words: list[str], said: str
) -> None:
    done = shell(*words)
    assert done.status in (1, 2)
    assert said in done.err
    for word in ("field", "parameter", "commands["):
        assert word not in done.err


def test_what_a_rename_would_overwrite_names_the_option(box: Server, shell: Shell) -> None:
    for key in ("m.a", "m.b", "n.a", "n.b"):
        box.set(key, key)
    done = shell("mv", "m.a", "n.a")
    assert done.status == 1
    assert "n.a exists already, at revision " in done.err
    assert done.err.endswith("; --replace overwrites what is there.\n")
    assert "and so do 1 more" in shell("mv", "m.", "n.").err
    shell.ok("mv", "m.", "n.", "--replace")
    assert shell.ok("ls", "n.**") == "n.a\tm.a\nn.b\tm.b\n"


@pytest.mark.parametrize("way", ["To leave it as now: ", "To undo it all the same: "])
def test_a_conflict_ends_with_options_to_paste(box: Server, shell: Shell, way: str) -> None:
    shell.ok("set", "two words", "1")
    box.set("two words", 2, actor="other")
    done = shell("undo")
    assert "1 key has been changed since; nothing was undone." in done.err
    options = next(line for line in done.err.splitlines() if way in line).partition(way)[2]
    shell.ok("undo", *shlex.split(options))


def test_a_key_that_has_changed_again_names_both_revisions(box: Server, shell: Shell) -> None:
    shell.ok("set", "again", "1")
    revision = box.set("again", 2, actor="other")["revision"]
    done = shell("undo", "--replace", f"again={revision - 1}")
    assert f"again is at revision {revision}, not {revision - 1}." in done.err
    assert f"--replace again={revision}" in done.err


@pytest.mark.parametrize("text", ["b=K\u00fcche\n".encode("latin-1"), "b=1\n".encode("utf-16")])
def test_a_file_in_another_encoding_names_the_option(shell: Shell, text: bytes) -> None:
    done = shell("import", "-", "--format", "env", stdin=text)
    assert done.status == 1
    assert "If FILE is in another encoding: --encoding latin-1, or cp1252, or utf-16." in done.err


@pytest.mark.parametrize(
    ("words", "status", "advice"),
    [
        (["ls", "below"], 0, "below. instead: ls 'below.**'"),
        (["tree", "topic"], 0, "topic/ instead: ls 'topic/**'"),
        (["get", "below"], 3, "below. instead: ls 'below.**'"),
        (["rm", "below"], 3, "below. instead: rm below."),
        (["rm", "topic"], 3, "topic/ instead: ls 'topic/**'"),
    ],
)
def test_a_name_with_keys_below_it_alone_comes_with_what_would_work(
    box: Server, shell: Shell, words: list[str], status: int, advice: str
) -> None:
    box.set("below.a", 1)
    box.set("topic/a", 1)
    done = shell(*words)
    assert (done.status, done.out) == (status, "")
    assert done.err.endswith(f"signalbox: There are keys below {advice}\n")


@pytest.mark.parametrize(
    "words", [["ls", "none"], ["tree", "none"], ["ls", "a..b", "--limit", "1"]]
)
def test_where_nothing_is_below_there_is_no_advice(shell: Shell, words: list[str]) -> None:
    assert "There are keys below" not in shell(*words).err
