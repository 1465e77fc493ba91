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
from tests.engines.plain import queries
from tests.engines.tiny_models import BUILDERS

# Tokens of every picture, or pixels that a token stands for; tiles have neither.
IMAGE_TOKENS = {
    "llava_clip": (16, None),  # 32 x 32 pixels in patches of 8
    "llava_siglip": (16, None),
    "gemma3": (16, None),
    "qwen2_vl": (None, 64),  # patches of 4, merged 2 x 2
    "qwen2_5_vl": (None, 64),
    "qwen3_vl": (None, 64),
}


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
    watched = {(site.module, site.layer): site.width for site in engine.sites if site.pool == "mean"}
    assert sum(module == "vision" for module, _ in watched) == card.anatomy.vision_blocks
    assert sum(module == "llm" for module, _ in watched) == card.anatomy.llm_blocks
    assert watched["vision", card.anatomy.consumed_layer] == card.anatomy.vision_width
    assert watched["llm", 0] == card.anatomy.llm_width
    stated = (card.anatomy.image_tokens, card.anatomy.pixels_per_image_token)
    assert stated == IMAGE_TOKENS.get(family, (None, None))
    if card.anatomy.image_tokens is not None:
        assert set(engine.image_tokens(queries())) == {card.anatomy.image_tokens}
    if card.anatomy.pixels_per_image_token is not None:  # 32 x 32 pixels are not resized
        assert engine.image_tokens(queries()[:1]) == (32 * 32 // card.anatomy.pixels_per_image_token,)
    with safe_open(folder / "model.safetensors", "pt") as weights:
        size = sum(weights.get_tensor(key).nbytes for key in weights.keys())  # noqa: SIM118
    assert card.memory_gb is not None
    assert size <= card.memory_gb * 1e9 <= 2 * size + 1e8
