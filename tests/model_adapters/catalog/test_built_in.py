"""Built-in models are selected, kept and found by name, and what stands for nothing is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from model_adapters.catalog import registry
from model_adapters.catalog.built_in import CARD, Sibling, default_folder, select, siblings
from model_adapters.catalog.built_in_weights import names
from model_adapters.catalog.card import ModelCard, PlantedFault
from model_adapters.catalog.faults import FAULTS
from model_adapters.catalog.registry import built_models, resolve
from model_adapters.catalog.revision import model_folder
from model_adapters.checks.card_draft import write_card
from model_adapters.interface import ModelError


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_ZOO_DIR", str(tmp_path / "zoo"))
    return tmp_path / "zoo"


def put(zoo: Path, folder: str, fault: str = "blind") -> Path:
    """Put down what `zoo build` leaves: a folder with a card that says what is wrong."""
    (zoo / folder).mkdir(parents=True)
    (zoo / folder / "config.json").write_text("{}")
    planted = PlantedFault(
        name=fault, degree="strong", expected=("comprehension",), severity=1, unit="x", drop=20, recipe="r"
    )
    card = ModelCard(
        name=f"zoo-faults/{folder}",
        path=str((zoo / folder).resolve()),
        groups=("zoo-faults",),
        licence="Apache-2.0",
        fault=planted,
    )
    write_card(card, zoo / folder / CARD)
    return zoo / folder


def folders(word: str, seed: int = 0) -> list[str]:
    selection = select(word.split(","), seed=seed)
    return [*selection.healthy, *(sibling.folder for sibling in selection.siblings)]


def test_there_is_a_sibling_of_every_model_for_every_fault_and_degree() -> None:
    assert len(names()) == 3
    assert (
        len(siblings())
        == len({s.name for s in siblings()})
        == 3 * sum(len(fault.degrees) for fault in FAULTS.values())
    )
    assert "zoo-faults/qwen2.5-vl-weak-vision-mild" in {s.name for s in siblings()}


def test_groups_names_and_globs_select() -> None:
    assert folders("zoo") == list(names())
    assert folders("zoo-faults") == [s.folder for s in siblings()]
    for word in ("llava-blind-mild", "zoo-faults/llava-blind-mild"):
        assert folders(word) == ["llava-blind-mild"]
    assert folders("*-blind-mild,zoo/gemma3-healthy,gemma3-blind-mild") == [
        "zoo/gemma3-healthy",
        "gemma3-blind-mild",
        "llava-blind-mild",
        "qwen2.5-vl-blind-mild",
    ]


def test_another_seed_is_another_model() -> None:
    assert folders("zoo/llava-healthy,llava-blind-mild", seed=2) == [
        "zoo/llava-healthy",
        "llava-blind-mild-seed2",
    ]
    assert select(["llava-blind-mild"], seed=2).siblings == (
        Sibling("zoo/llava-healthy", "blind", "mild", 2),
    )


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("llava-blnd-strong", "did you mean `llava-blind-strong"),
        ("xyzzy", "there are the groups zoo and zoo-faults, and names such as gemma3-healthy or gemma3-"),
    ],
)
def test_what_selects_nothing_is_refused(word: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        select(["zoo", word])


def test_the_default_folder_is_the_stated_one_or_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("HARNESS_ZOO_DIR", raising=False)
    assert default_folder() == tmp_path / "zoo"
    monkeypatch.setenv("HARNESS_ZOO_DIR", "~/mine")
    assert default_folder() == Path.home() / "mine"


def test_what_was_built_is_found_by_group_name_and_glob(zoo: Path) -> None:
    put(zoo, "llava-blind-strong")
    put(zoo, "qwen2.5-vl-blind-mild-seed1")
    put(zoo, "half-made").rename(zoo / ".llava-erased-mild.partial")
    chosen = {
        word: [(s.card.name, s.named) for s in resolve([word])]
        for word in ("zoo-faults", "zoo-faults/llava-*", "zoo-faults/llava-blind-strong")
    }
    both = ["zoo-faults/llava-blind-strong", "zoo-faults/qwen2.5-vl-blind-mild-seed1"]
    assert chosen["zoo-faults"] == [(name, False) for name in both]
    assert chosen["zoo-faults/llava-*"] == [(both[0], False)]
    assert chosen["zoo-faults/llava-blind-strong"] == [(both[0], True)]
    assert not [s for s in resolve(["all"]) if s.card.fault]
    (found,) = resolve([both[0]])
    assert model_folder(found.card) == zoo / "llava-blind-strong"
    assert found.card.fault is not None
    assert found.card.fault.name == "blind"


def test_a_folder_with_a_card_is_read_by_it(zoo: Path) -> None:
    folder = put(zoo, "llava-blind-strong")
    (found,) = resolve([str(folder)])
    assert (found.card.name, found.card.path) == ("zoo-faults/llava-blind-strong", str(folder.resolve()))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("zoo-faults", r"no models in .*zoo yet; make them with `harness zoo build`"),
        (
            "zoo-faults/gemma3-swapped-mild",
            r"not in .*zoo yet; make it with `harness zoo build --only gemma3-swapped-mild`",
        ),
        ("zoo-faults/gemma3-swaped-mild", "unknown model .*did you mean `zoo-faults/gemma3-swapped-mild"),
    ],
)
def test_what_was_not_built_names_the_command(zoo: Path, word: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve([word])


def test_a_card_of_another_version_is_named_with_the_way_out(zoo: Path) -> None:
    put(zoo, "llava-blind-mild")
    (put(zoo, "llava-blind-strong") / CARD).write_text("name: x\npath: .\ncolour: red\n")
    with pytest.raises(
        ModelError, match=r"strong.*3: colour: unknown key.*`harness zoo build` makes it anew"
    ):
        resolve(["zoo-faults"])
    assert len(built_models("zoo-faults/llava-blind-mild")) == 1
    assert resolve(["zoo/llava-healthy"])


def test_healthy_weights_are_those_that_come_along(zoo: Path) -> None:
    (zoo / "llava-healthy").mkdir(parents=True)
    (zoo / "llava-healthy" / "config.json").write_text("{}")
    folder = model_folder(registry.shipped_cards()["zoo/llava-healthy"])
    assert folder is not None
    assert folder.parent.name == "weights"


def test_choosing_models_with_faults_imports_no_heavy_library(zoo: Path) -> None:
    put(zoo, "llava-blind-strong")
    program = (
        "import sys; from model_adapters.catalog.registry import resolve; resolve(['zoo-faults', 'all']);"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
