"""`signalbox get KEY` in a script, where a server runs and has the key: with the client alone.

To load the command line takes twice as long as all the rest. What is not that plain is left to it:
other options, a terminal, no server, no such key, an error.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from io import TextIOWrapper

from signalbox import client


def print_value(options: Mapping[str, str], words: Sequence[str]) -> bool:
    """Print the value where `options` and `words` of a command line ask for one; whether it was.

    Raises `OSError` where stdout cannot be written to.
    """
    if len(words) != 2 or words[0] != "get" or words[1].startswith("-"):
        return False
    if options.keys() - {"--data-dir"} or not isinstance(sys.stdout, TextIOWrapper):
        return False
    if sys.stdout.isatty() or os.environ.keys() & {"SIGNALBOX_ENGINE", "SIGNALBOX_REQUIRE_DURABLE"}:
        return False
    try:
        item = _find_item(options.get("--data-dir"), words[1])
        if item is None:
            return False
        value = item["value"]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except client.UNREACHABLE:
        return False
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return True


def _find_item(folder: str | None, key: str) -> dict[str, object] | None:
    """The key with its value, from the server that runs; None without one, or such a key.

    Raises what is in `client.UNREACHABLE`.
    """
    data_dir = client.default_data_dir() if folder is None else client.expand_data_dir(folder)
    endpoint = client.read_endpoint_file(data_dir)
    if endpoint is None:
        return None
    token, directory = endpoint.read_token, endpoint.directory
    with client.Box(endpoint.url, token, silence=client.PROBE_TIMEOUT, directory=directory) as box:
        return box.item(key)
