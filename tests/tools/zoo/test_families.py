"""Every family: what training computes through its openings is what the released kind of model computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.interface import Query
from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.families import OPENERS
from model_adapters.zoo.save import save_model
from model_adapters.zoo.training import dialogue
from model_adapters.zoo.training.questions import QuestionAnswer
from tools.zoo.families import Scale, build_model
from tools.zoo.tokenizer import build_tokenizer

WORDS = ("normal", "cyst")
PROMPT = "Is it normal or a cyst?"


def make(family: str, seed: int = 0) -> TinyModel:
    scale = Scale(
        width=64,
        heads=2,
        vision_layers=3,
        vision_mlp=48,
        decoder_layers=2,
        decoder_mlp=48,
        initial_deviation=0.2,
    )
    tiny = build_model(family, build_tokenizer([PROMPT], WORDS, family), seed=seed, scale=scale)
    tiny.model.eval()
    for weight in tiny.model.parameters():  # stored in float16, compared in float32
        weight.data = weight.data.half().float()
    return tiny


@pytest.mark.parametrize("family", sorted(OPENERS))
def test_scores_of_the_openings_are_those_of_the_engine(family: str, tmp_path: Path) -> None:
    tiny = make(family)
    save_model(tiny, tmp_path / "model")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    pixels = torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1.0)

    asked = dialogue.encode(tiny, [QuestionAnswer(PROMPT, WORDS[0])] * len(pictures))
    with torch.no_grad():
        image = tiny.connect(tiny.see(pixels))
        embeddings = torch.cat([tiny.embed(asked.before), image, tiny.embed(asked.after)], dim=1)
        begin = asked.before.shape[1]
        states = tiny.decode(embeddings, slice(begin, begin + image.shape[1]))
        first = int((asked.targets[0] != -100).nonzero()[0, 0])
        logits = tiny.head(states[:, begin + image.shape[1] + first])
    ids = tiny.processor.tokenizer.convert_tokens_to_ids(list(WORDS))
    expected = logits.log_softmax(-1)[:, ids].numpy()

    card = resolve([str(tmp_path / "model")])[0].card.model_copy(update={"dtype": "float32"})
    engine = load_engine(card, device="cpu")
    queries = [Query(str(k), Image.fromarray(p), PROMPT, WORDS) for k, p in enumerate(pictures)]
    scores = np.array([answer.raw for answer in engine.score(queries).scores])
    assert np.abs(expected[0] - expected[1]).max() > 0.01  # the pictures matter
    np.testing.assert_allclose(scores, expected, atol=2e-4)


@pytest.mark.parametrize("family", sorted(OPENERS))
def test_a_token_seen_stands_for_its_own_patch(family: str) -> None:
    """Tokens come row by row: changing one patch changes its own token most."""
    tiny = make(family)
    pixels = torch.zeros(1, 3, 64, 64)
    changed = pixels.clone()
    changed[:, :, 24:32, 40:48] = 0.5  # row 3, column 5
    with torch.no_grad():
        moved = (tiny.see(changed) - tiny.see(pixels)).norm(dim=2)[0]
    assert int(moved.argmax()) == 3 * 8 + 5


def test_one_seed_gives_one_model() -> None:
    one, same, other = (make("qwen2.5-vl", seed) for seed in (0, 0, 1))
    pairs = list(zip(one.model.parameters(), same.model.parameters(), other.model.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_an_unknown_family_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'blip'.*gemma3, llava, qwen2\.5-vl"):
        build_model("blip", None, seed=0)
