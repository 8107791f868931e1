"""Scripts as people write them, for a picture of the window in use."""

import math
import random
from time import monotonic, sleep
from typing import Any, Final

import signalbox
from signalbox.client import Box

TICK_SECONDS: Final = 0.2
FIRST: Final[dict[str, dict[str, Any]]] = {
    "ci": {"build.branch": "main", "build.status": "green"},
    "backup.sh": {
        "backup.status": "ok",
        "backup.exit_code": 0,
        "backup.last_line": "2,114 files, 38.2 GB",
    },
    "train.py": {"train.run": "resnet50-ft-0412", "train.lr": 0.1, "train.paused": False},
    "motion.py": {"lamp.desk.on": True, "lamp.scene.evening": {"desk": 40, "hall": False}},
}
"""What each actor sets at first."""


def play(endpoint: dict[str, Any], seconds: float) -> None:
    """Let them run on the server of `endpoint` for so long, beside this computer's own keys."""
    boxes = {
        actor: signalbox.connect(actor, url=endpoint["url"], token=endpoint["write_token"])
        for actor in FIRST
    }
    boxes["ci"].set("_signalbox.sources.computer", {"enabled": True, "every": 0.5})
    for actor, keys in FIRST.items():
        for key, value in keys.items():
            boxes[actor].set(key, value)
    dice, end, tick = random.Random(4), monotonic() + seconds, 0
    while monotonic() < end:
        tick += 1
        _train(boxes["train.py"], tick, dice)
        _live(boxes, tick, dice)
        sleep(TICK_SECONDS)
    for box in boxes.values():
        box.close()


def _train(box: Box, tick: int, dice: random.Random) -> None:
    """One step of a script that trains a model."""
    loss = 2.2 * math.exp(-tick / 30) + dice.random() * 0.08
    box.set("train.loss", round(loss, 4))
    box.set("train.epoch", tick // 8)
    if tick % 25 == 0:
        box.set("train.lr", 0.1 / 2 ** (tick // 25))


def _live(boxes: dict[str, Box], tick: int, dice: random.Random) -> None:
    """One step of the other scripts: a lamp, a build."""
    if tick % 7 == 0:
        boxes["motion.py"].toggle("lamp.hall.on")
        boxes["motion.py"].set("lamp.desk.brightness", dice.randint(40, 90))
    if tick % 19 == 0:
        boxes["ci"].set("build.status", dice.choice(["green", "failed: 3 tests"]))
