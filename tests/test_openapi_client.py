"""A client generated from `/openapi.json` compiles and calls every operation."""

import compileall
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from support.harness import SECONDS, Server
from support.raw_http import serving

CONFIG: Final = """
content_type_overrides:
  application/x-ndjson: application/octet-stream
  text/csv: application/octet-stream
post_hooks: []
"""
"""It knows neither NDJSON nor CSV by itself: both are files."""
ENDLESS: Final = ("follow", "follow_page")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("generated") / "store") as server:
        server.set("lamp.on", True, id="first")
        server.set("lamp.on", False)
        yield server


@pytest.fixture(scope="module")
def document(box: Server) -> dict[str, Any]:
    found: dict[str, Any] = box.get("/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def package(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModuleType]:
    """The generated package, in which nothing was left out."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "config.yaml").write_text(CONFIG)
    options = "--config config.yaml --path openapi.json --output-path generated --meta none"
    done = subprocess.run(
        [Path(sys.executable).with_name("openapi-python-client"), "generate", *options.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "WARNING" not in done.stdout + done.stderr, done.stdout
    assert compileall.compile_dir(folder / "generated", quiet=2)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("generated")
    sys.path.remove(str(folder))


def operations(document: dict[str, Any]) -> dict[str, str]:
    """The name of every operation with its tag."""
    return {
        operation["operationId"]: operation["tags"][0]
        for methods in document["paths"].values()
        for operation in methods.values()
    }


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    listed = [one for methods in document["paths"].values() for one in methods.values()]
    assert len(operations(document)) == len(listed)


def test_no_two_schemas_have_one_title(document: dict[str, Any]) -> None:
    titles = [schema["title"] for schema in document["components"]["schemas"].values()]
    assert len(set(titles)) == len(titles)


def test_every_link_leads_to_a_parameter_of_an_operation(document: dict[str, Any]) -> None:
    listed = [one for methods in document["paths"].values() for one in methods.values()]
    asked = {one["operationId"]: {p["name"] for p in one["parameters"]} for one in listed}
    links = [
        link
        for one in listed
        for answer in one["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert links
    for link in links:
        assert set(link["parameters"]) <= asked[link["operationId"]]


def test_the_description_says_where_the_server_is(box: Server, document: dict[str, Any]) -> None:
    assert document["servers"] == [{"url": box.url}]


def arguments() -> dict[str, dict[str, Any]]:
    """Of each operation that needs some."""
    models = importlib.import_module("generated.models")
    types = importlib.import_module("generated.types")
    return {
        "send_command": {
            "body": models.SetCommand(type_=models.SetCommandType.SET, key="made", value=[1])
        },
        "import_commands": {
            "body": types.File(payload=io.BytesIO(b'{"type":"add","key":"n"}\n')),
            "id": "import-1",
        },
        "compact": {"dry_run": models.CompactDryRun.VALUE_1},
        "get_file": {"file": "base.css"},
        "get_key": {"key": "lamp.on", "at": "1"},
        "get_history": {"key": "lamp.on", "before": "2"},
        "get_attempt": {"id": "first"},
        "compare": {"from_": "0", "to": "1"},
        "describe_key": {"key": "lamp.on"},
        "greet": {"nonce": "0123456789abcdef"},
        "say_goodbye": {"body": models.Goodbye(page="unknown")},
        "redeem": {"body": models.Redemption(code="unknown")},
    }


def test_every_operation_can_be_called(
    box: Server, document: dict[str, Any], package: ModuleType
) -> None:
    needed = arguments()
    client = package.AuthenticatedClient(
        base_url=box.url, token=box.write_token, timeout=SECONDS, follow_redirects=False
    )
    answers = {}
    with client:
        for name, tag in operations(document).items():
            api = importlib.import_module(f"generated.api.{tag}.{name}")
            given = needed.get(name, {})
            if name in ENDLESS:
                request = api._get_kwargs(**given)  # noqa: SLF001 - it reads to the end otherwise
                with client.get_httpx_client().stream(**request) as answer:
                    assert answer.status_code == HTTPStatus.OK
                    assert next(answer.iter_lines())
            else:
                answers[name] = api.sync_detailed(client=client, **given)
    refused = {name for name, one in answers.items() if one.status_code >= HTTPStatus.BAD_REQUEST}
    assert refused == {"redeem"}
    assert answers["send_command"].parsed.status == "accepted"
    assert answers["get_key"].parsed.value is True
    assert answers["get_history"].parsed.items[0].id == "first"
    assert answers["compare"].parsed.items[0].key == "lamp.on"
    assert answers["get_attempt"].parsed.actor
    assert summary(answers["import_commands"])["accepted"] == 1
    assert box.value("made") == [1]


def summary(answer: Any) -> Any:
    """What an import says last."""
    return json.loads(answer.content.splitlines()[-1])


def test_a_file_and_an_object_can_be_imported(box: Server, package: ModuleType) -> None:
    types = importlib.import_module("generated.types")
    given = importlib.import_module("generated.models").ImportCommandsJsonBody.from_dict({"o": 1})
    rows = types.File(payload=io.BytesIO(b"key,value\nc,2\n"))
    api = importlib.import_module("generated.api.commands.import_commands")
    with package.AuthenticatedClient(base_url=box.url, token=box.write_token) as client:
        for body, name in ((given, types.UNSET), (rows, "rows.csv")):
            answer = api.sync_detailed(client=client, body=body, name=name)
            assert (answer.status_code, summary(answer)["accepted"]) == (HTTPStatus.OK, 1)
    assert (box.value("o"), box.value("c")) == (1, 2)
