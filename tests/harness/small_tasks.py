"""Small tasks made in place, for tests that need classes and prompts alone."""

from __future__ import annotations

from tasks.spec import TaskSpec


def make_task(*classes: tuple[str, ...], seed: int = 0) -> TaskSpec:
    """A task whose classes are given as (name, wording, aliases…)."""
    return TaskSpec.model_validate(
        {
            "id": "lumps",
            "title": "Lumps",
            "version": 1,
            "modality": "synthetic",
            "description": "Lumps.",
            "classes": [{"name": c[0], "wording": c[1], "aliases": list(c[2:])} for c in classes],
            "prompts": [
                {"id": "free", "kind": "label", "template": "Is it {classes}?"},
                {"id": "paraphrase_1", "kind": "label", "template": "Say {classes}."},
                {"id": "paraphrase_2", "kind": "label", "template": "Name it, {classes}."},
                {"id": "letters", "kind": "letters", "template": "Pick one:\n{options}\nLetter only."},
            ],
            "primary_prompt": "free",
            "licence": "CC0-1.0",
            "redistribute_pixels": True,
            "citation": "Nobody, 2020.",
            "seed": seed,
            "source": {
                "layout": "phantom",
                "generator_version": 2,
                "size": 64,
                "splits": {"test": {"first": 0, "count": 8}},
            },
        }
    )


def numbered(count: int, seed: int = 0) -> TaskSpec:
    """A task of `count` classes with wordings `finding 00`, `finding 01` and on."""
    return make_task(*((f"F{i}", f"finding {i:02d}") for i in range(count)), seed=seed)
