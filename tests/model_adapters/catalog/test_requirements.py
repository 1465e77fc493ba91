"""A model whose own code pins versions is refused before that code runs, with the way out in one line."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from model_adapters.catalog.card import make_card
from model_adapters.catalog.registry import load_engine
from model_adapters.catalog.requirements import missing_requirements
from model_adapters.interface import ModelError


def card(*requires, **changes):
    return make_card({"name": "x", "hub_id": "a/b", "requires": requires, **changes}, "x")


def test_what_is_met_is_not_mentioned():
    torch = version("torch").partition("+")[0]
    assert missing_requirements(card()) == ()
    met = card(f"torch>={torch}", "transformers>=5,<99", 'nonesuch; python_version < "3"')
    assert missing_requirements(met) == ()


def test_every_unmet_requirement_is_a_sentence():
    installed = version("transformers")
    assert missing_requirements(card("transformers<5,>=4.51", "torch>=2.1", "nonesuch>=2")) == (
        f"needs transformers>=4.51,<5, {installed} is installed",
        "needs nonesuch>=2, which is not installed",
    )


def test_finding_out_imports_no_heavy_library():
    program = (
        "import sys; from model_adapters.catalog.card import make_card;"
        "from model_adapters.catalog.requirements import missing_requirements;"
        "card = make_card({'name': 'x', 'hub_id': 'a/b', 'requires': ['transformers<5']}, 'x');"
        "assert missing_requirements(card);"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture
def folder(tmp_path):
    """A model whose code leaves a mark when it is run, and then cannot be imported."""
    (tmp_path / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoConfig": "configuration_mine.Mine"}}'
    )
    (tmp_path / "configuration_mine.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').write('x')\n"
        "from transformers.utils import a_name_that_is_gone\n"
    )
    return tmp_path


def test_conflicting_versions_are_named_before_any_code_is_run(folder):
    pinned = card("transformers>=4.51,<5", hub_id=None, path=str(folder), trust_remote_code=True)
    with pytest.raises(ModelError) as error:
        load_engine(pinned, device="cpu", trust_remote_code=True)
    message = str(error.value)
    assert message.startswith(f"x: needs transformers>=4.51,<5, {version('transformers')} is installed")
    assert "`requires`" in message
    assert "pip install 'transformers>=4.51,<5'" in message
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("requires", "named"),
    [(("transformers>=5",), r"names transformers>=5 \(`requires`\)"), ((), "names no versions")],
)
def test_code_that_cannot_be_imported_is_reported_with_the_versions_of_the_card(folder, requires, named):
    content = card(*requires, hub_id=None, path=str(folder), trust_remote_code=True)
    with pytest.raises(ModelError, match=named) as error:
        load_engine(content, device="cpu", trust_remote_code=True)
    assert "a_name_that_is_gone" in str(error.value)
    assert f"here with transformers {version('transformers')}" in str(error.value)
    assert "\n" not in str(error.value)
    assert (folder / "ran").exists()
