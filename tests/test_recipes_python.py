"""The recipes for Python: callbacks of frameworks, whose classes here have the same signatures."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import pytest

import signalbox
from signalbox.client import Box
from support.harness import ROOT, Server
from support.nodes import until
from support.raw_http import serving

BLOCKS: Final = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL
)


class KerasCallback:
    """`keras.callbacks.Callback` (Keras 3): what a callback may override, with its arguments."""

    model: Any = None

    def on_train_begin(self, logs: Any = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None: ...
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None: ...


class LightningCallback:
    """`lightning.pytorch.Callback` (Lightning 2)."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None: ...
    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None: ...
    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "store") as one:
        yield one


@pytest.fixture
def box(server: Server) -> Iterator[Box]:
    with signalbox.connect("fit.py", url=server.url, token=server.write_token) as one:
        yield one


def recipe(begins: str) -> dict[str, Any]:
    """The names that the recipe which begins so defines."""
    (found,) = (text for text in BLOCKS if text.startswith(begins))
    names: dict[str, Any] = {}
    exec(compile(found, begins, "exec"), names)
    return names


def test_a_keras_model_is_steered(
    box: Box, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = ModuleType("keras")
    vars(keras).update(
        callbacks=SimpleNamespace(Callback=KerasCallback),
        ops=SimpleNamespace(convert_to_numpy=lambda value: value),
    )
    monkeypatch.setitem(sys.modules, "keras", keras)
    knobs = recipe("# keras_knobs.py")["Knobs"](box)
    optimizer = SimpleNamespace(learning_rate=0.01)
    knobs.model = model = SimpleNamespace(optimizer=optimizer, stop_training=False)
    knobs.on_train_begin()
    knobs.on_epoch_begin(0)
    assert optimizer.learning_rate == 0.01
    server.set("train.lr", 0.5)
    until(lambda: knobs.lr.value == 0.5)
    knobs.on_epoch_begin(1)
    assert optimizer.learning_rate == 0.5
    knobs.on_train_batch_end(0, {"loss": float("nan"), "accuracy": 0.5})
    box.flush()
    assert (box["train.loss"], box["train.accuracy"], model.stop_training) == (None, 0.5, False)
    server.set("train.stop", True)
    until(lambda: knobs.stop.value)
    knobs.on_train_batch_end(1)
    assert model.stop_training


def test_a_lightning_trainer_is_steered(
    box: Box, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lightning, pytorch = ModuleType("lightning"), ModuleType("lightning.pytorch")
    vars(pytorch)["Callback"] = LightningCallback
    vars(lightning)["pytorch"] = pytorch
    monkeypatch.setitem(sys.modules, "lightning", lightning)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", pytorch)
    knobs = recipe("# lightning_knobs.py")["Knobs"](box)
    group = {"lr": 0.01}
    trainer = SimpleNamespace(
        optimizers=[SimpleNamespace(param_groups=[group])],
        callback_metrics={"loss": 0.25},
        is_global_zero=True,
        should_stop=False,
    )
    knobs.on_train_start(trainer, None)
    server.set("train.lr", 0.5)
    until(lambda: knobs.lr.value == 0.5)
    knobs.on_train_batch_start(trainer, None, None, 0)
    assert group == {"lr": 0.5}
    knobs.on_train_batch_end(trainer, None, None, None, 0)
    box.flush()
    assert (box["train.loss"], trainer.should_stop) == (0.25, False)
    server.set("train.stop", True)
    until(lambda: knobs.stop.value)
    knobs.on_train_batch_end(trainer, None, None, None, 1)
    assert trainer.should_stop


@pytest.mark.parametrize("text", BLOCKS)
def test_every_recipe_is_python(text: str) -> None:
    compile(text, "recipe", "exec")
