"""`harness models add`: a card drafted from the configuration describes the model that is then loaded."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi, constants
from safetensors import safe_open

from harness.cli import cli
from model_adapters.catalog import hub
from model_adapters.catalog.card import load_card
from model_adapters.catalog.registry import load_engine
from tests.model_adapters.tiny.models import BUILDERS
from tests.model_adapters.tiny.plain import queries

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


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A hub that takes connections and says nothing, and an empty cache."""
    monkeypatch.setattr(hub, "_SECONDS", 0.5)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: HfApi(address))
        yield


def test_a_hub_that_says_nothing_is_given_up_in_one_line(silent_hub: None) -> None:
    started = time.monotonic()
    added = CliRunner().invoke(cli, ["models", "add", "clinic/model"])
    assert time.monotonic() - started < 10
    assert added.output == ""
    assert str(added.exception) == "clinic/model@main: not in the local cache, and the hub cannot be reached"


def test_a_card_without_files_is_not_looked_for_on_the_hub() -> None:
    added = CliRunner().invoke(cli, ["models", "add", "reference/resnet"])
    assert (
        str(added.exception) == "reference/resnet: has no files of its own; name a model folder or a hub id"
    )


def test_code_of_its_own_is_named_and_does_not_run(tmp_path: Path) -> None:
    auto_map = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": auto_map}))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    added = CliRunner().invoke(cli, ["models", "add", str(tmp_path)])
    assert "allow it with --trust-remote-code" in str(added.exception)
    assert not (tmp_path / "ran").exists()
