"""`harness models add`: a card drafted from the configuration describes the model that is then loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors import safe_open

from harness.cli import cli
from model_adapters.card import load_card
from model_adapters.registry import load_engine
from tests.engines.tiny_models import BUILDERS


@pytest.mark.parametrize("family", sorted(BUILDERS))
def test_the_card_describes_the_model(
    family: str, tiny_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tiny_folder(family)
    added = CliRunner().invoke(cli, ["models", "add", str(folder), "--name", f"mine/{family}"])
    assert added.exit_code == 0, added.output
    card = load_card(tmp_path / f"mine--{family}.yaml")
    assert card.name == f"mine/{family}"

    engine = load_engine(card, device="cpu")  # compares what it finds with what the card declares
    assert engine.description.architecture == card.architecture
    watched = {(site.module, site.layer) for site in engine.sites}
    assert sum(module == "vision" for module, _ in watched) == card.anatomy.vision_blocks
    assert sum(module == "llm" for module, _ in watched) == card.anatomy.llm_blocks
    with safe_open(folder / "model.safetensors", "pt") as weights:
        size = sum(weights.get_tensor(key).nbytes for key in weights.keys())  # noqa: SIM118
    assert card.memory_gb is not None
    assert size <= card.memory_gb * 1e9 <= 2 * size + 1e8
