"""`harness zoo build`: what is made, what is left alone, and how it ends when something is in the way."""

from __future__ import annotations

import dataclasses
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from harness.cli import main
from harness.tuning import zoo_build as building
from model_adapters.catalog.built_in import CARD, Sibling
from model_adapters.catalog.built_in_weights import build_one
from model_adapters.catalog.card import PromptSettings, load_card
from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.interface import Query
from model_adapters.zoo import siblings
from model_adapters.zoo.faults import plant as planting

PERMUTED = Sibling("zoo/gemma3-healthy", "permuted", "strong")
SWAPPED = Sibling("zoo/gemma3-healthy", "swapped", "strong")
TWO = f"{PERMUTED.folder},{SWAPPED.folder}"

Command = Callable[..., int]


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "PLANTING_COUNT", 150)


@pytest.fixture
def zoo_build(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process and return its exit status; capsys then holds what it said."""

    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["zoo", "build", *map(str, arguments)])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the faults that are planted while a test runs."""
    made: list[str] = []
    plant = planting.plant

    def noted(subject: object, fault: str, *arguments: object, **named: object) -> object:
        made.append(fault)
        return plant(subject, fault, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(planting, "plant", noted)
    return made


def stamps(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*") if file.name != ".lock"}


def test_siblings_are_ordinary_folders_whose_card_says_what_is_wrong(
    tmp_path: Path,
    zoo_build: Command,
    planted: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert zoo_build(tmp_path, "--only", TWO) == 0
    said = capsys.readouterr()
    folders = [str(tmp_path / name) for name in ("gemma3-healthy", PERMUTED.folder, SWAPPED.folder)]
    assert said.out.splitlines() == folders
    assert "2 models with a fault to make, about" in said.err
    assert "1 of 2: zoo-faults/gemma3-permuted-strong: answers" in said.err
    assert "left" in said.err
    evaluated = "harness eval --tasks phantom --models zoo-faults\n"
    assert said.err.endswith(f"evaluate them with: HARNESS_ZOO_DIR={tmp_path} {evaluated}")
    assert planted == ["permuted", "swapped"]

    card = load_card(tmp_path / PERMUTED.folder / CARD)
    assert (card.name, card.groups) == ("zoo-faults/gemma3-permuted-strong", ("zoo-faults",))
    assert card.fault is not None
    assert (card.fault.expected, card.fault.details) == (("mapping",), ("label_permutation",))
    assert card.fault.drop > 20
    assert "Expected verdict: mapping, with label_permutation. Not for clinical use." in card.notes
    assert (tmp_path / PERMUTED.folder / "NOTICE").is_file()
    answers = [_answers(tmp_path / name) for name in ("gemma3-healthy", PERMUTED.folder)]
    relabelled = dict(zip(*answers, strict=True))
    assert all(relabelled[a] == b for a, b in zip(*answers, strict=True))
    assert all(a != b for a, b in relabelled.items())

    # The same again makes nothing; what was made from something else, or not to its end, is made anew.
    before = stamps(tmp_path)
    assert zoo_build(tmp_path, "--only", TWO) == 0
    assert capsys.readouterr().out.splitlines() == folders
    assert (planted, stamps(tmp_path)) == (["permuted", "swapped"], before)
    (tmp_path / SWAPPED.folder / CARD).unlink()
    assert zoo_build(tmp_path, "--only", TWO) == 0
    assert planted == ["permuted", "swapped", "swapped"]
    monkeypatch.setattr(siblings, "PLANTING_VERSION", siblings.PLANTING_VERSION + 1)
    assert zoo_build(tmp_path, "--only", PERMUTED.folder) == 0
    assert planted == ["permuted", "swapped", "swapped", "permuted"]
    assert zoo_build(tmp_path, "--only", PERMUTED.folder, "--seed", 1) == 0
    assert (tmp_path / f"{PERMUTED.folder}-seed1" / CARD).is_file()
    assert not list(tmp_path.glob(".*.partial"))
    assert not list(tmp_path.glob(".*.old"))


def test_a_build_that_was_stopped_goes_on(
    tmp_path: Path,
    zoo_build: Command,
    planted: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = siblings.write_sibling

    def stopped(made: object, sibling: Sibling, target: Path, made_from: str) -> None:
        if sibling == SWAPPED:
            target.mkdir(parents=True)
            (target / "config.json").write_text("{}")
            raise KeyboardInterrupt
        write(made, sibling, target, made_from)  # type: ignore[arg-type]

    monkeypatch.setattr(siblings, "write_sibling", stopped)
    assert zoo_build(tmp_path, "--only", TWO) == 130
    assert "harness: interrupted; start the same command again to go on\n" in capsys.readouterr().err
    assert not (tmp_path / SWAPPED.folder).exists()
    monkeypatch.setattr(siblings, "write_sibling", write)
    assert zoo_build(tmp_path, "--only", TWO) == 0
    assert "1 model with a fault to make, about" in capsys.readouterr().err
    assert planted == ["permuted", "swapped", "swapped"]
    assert (tmp_path / SWAPPED.folder / CARD).is_file()


def test_without_a_folder_it_goes_where_eval_looks(
    tmp_path: Path, zoo_build: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_ZOO_DIR", str(tmp_path / "zoo"))
    assert zoo_build("--only", SWAPPED.folder) == 0
    (found,) = resolve(["zoo-faults"])
    assert found.card.name == SWAPPED.name
    assert "evaluate them with: harness eval --tasks phantom --models zoo-faults\n" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["models", "list"])
    assert SWAPPED.name in capsys.readouterr().out


def test_what_is_in_the_way_is_one_line(
    tmp_path: Path, zoo_build: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with FileLock(tmp_path / ".lock"):
        cases = [
            ((tmp_path / "file" / "models", "--only", "zoo"), 1, "cannot be written"),
            ((tmp_path, "--only", "zoo"), 1, "another `harness zoo build` is writing here"),
            ((tmp_path, "--only", "llava-blnd-mild"), 2, "did you mean `llava-blind-mild`"),
            ((tmp_path, "--only", ","), 2, "names no model"),
            ((tmp_path / "file",), 2, "is a file"),
        ]
        for arguments, status, message in cases:
            assert zoo_build(*arguments) == status
            said = capsys.readouterr()
            assert message in said.err
            assert (said.out, said.err.count("\n")) == ("", 1)


def test_a_full_disk_is_named(tmp_path: Path, zoo_build: Command, capsys: pytest.CaptureFixture[str]) -> None:
    build_one(PERMUTED.healthy, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))  # as a full disk does, it ends a write
    try:
        status = zoo_build(tmp_path, "--only", PERMUTED.folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 1
    assert f"harness: {tmp_path / PERMUTED.folder}: cannot write the model there (" in capsys.readouterr().err
    assert not (tmp_path / PERMUTED.folder).exists()


def test_the_recipe_is_of_all_that_decides(tmp_path: Path) -> None:
    healthy = build_one(PERMUTED.healthy, tmp_path)
    material = siblings.Material("phantom", list)
    changed = [
        dataclasses.replace(PERMUTED, seed=1),
        dataclasses.replace(PERMUTED, fault="swapped"),
        dataclasses.replace(SWAPPED, degree="mild"),
    ]
    recipes = [siblings.recipe(healthy, sibling, material) for sibling in (PERMUTED, PERMUTED, *changed)]
    recipes.append(siblings.recipe(healthy, PERMUTED, siblings.Material("other images", list)))
    other = tmp_path / "other"
    shutil.copytree(healthy, other)
    (other / "model.safetensors").write_bytes(b"other weights")
    recipes.append(siblings.recipe(other, PERMUTED, material))
    assert recipes[0] == recipes[1]
    assert len(set(recipes)) == len(recipes) - 1


def _answers(folder: Path) -> list[int]:
    from PIL import Image

    batch = building.phantom_set(12)
    settings = {"dtype": "float32", "prompt": PromptSettings(label_prefix="")}
    card = resolve([str(folder)])[0].card.model_copy(update=settings)
    prompt = batch.label_prompts[0].replace("{classes}", ", ".join(batch.wordings))
    queries = [
        Query(str(k), Image.fromarray(image), prompt, batch.wordings) for k, image in enumerate(batch.images)
    ]
    scores = [answer.raw for answer in load_engine(card, device="cpu").score(queries).scores]
    return [max(range(len(row)), key=row.__getitem__) for row in scores]
