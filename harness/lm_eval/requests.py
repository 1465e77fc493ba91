"""Turn lm-eval's requests into queries for an engine, and group those that one prefill answers together.

Nothing here imports lm-eval: a request is anything with `args`, `task_name` and `doc_id`, as its `Instance`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from harness.data.decode import pixel_hash, to_rgb
from model_adapters.interface import ModelError, Query

PLACEHOLDER = "<image>"
DEFAULT_TOKENS = 256  # as lm-eval's own models write where a task says nothing


class Request(Protocol):
    """One of lm-eval's requests: (context, continuation or settings, {"visual": [picture]})."""

    @property
    def args(self) -> tuple[Any, ...]: ...  # noqa: D102
    @property
    def task_name(self) -> str | None: ...  # noqa: D102
    @property
    def doc_id(self) -> int | None: ...  # noqa: D102


@dataclass(frozen=True)
class ScoredTogether:
    """One query, and for each request that it answers the request's index and the index of its label."""

    query: Query
    answers: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Writing:
    """How a free answer is to be written: greedily, at most so many tokens, cut before any of `until`."""

    max_new_tokens: int
    until: tuple[str, ...]

    def cut(self, text: str) -> str:
        """Return the text up to the first of `until`."""
        for stop in self.until:
            text = text.split(stop)[0]
        return text


class _Pixels:
    """Hashes pictures; the same object, as all options of one question hold it, is hashed once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Image.Image, str]] = {}

    def __call__(self, picture: Image.Image) -> str:
        known = self._known.get(id(picture))
        if known is None:
            known = self._known[id(picture)] = (picture, pixel_hash(picture))
        return known[1]


def scored_together(requests: Sequence[Request]) -> tuple[ScoredTogether, ...]:
    """Group requests about the same image and context into queries whose labels are the continuations.

    Only requests of one document are put together: what may follow a prompt decides how labels are scored.
    White space around a continuation is left out; the engine puts what its model needs.

    Raises:
        ModelError: a request is not about exactly one image, or is a question that the engine cannot ask.
    """
    pixels = _Pixels()
    groups: dict[tuple[Any, ...], list[tuple[int, str]]] = {}
    for index, request in enumerate(requests):
        key = (request.task_name, request.doc_id, request.args[0], pixels(picture_of(request)))
        label = str(request.args[1]).strip()
        if not label:
            raise ModelError(f"{name_of(request)}: a continuation is empty")
        groups.setdefault(key, []).append((index, label))
    return tuple(_together(requests, members) for members in groups.values())


def _together(requests: Sequence[Request], members: Sequence[tuple[int, str]]) -> ScoredTogether:
    labels = tuple(dict.fromkeys(label for _, label in members))
    query = query_of(requests[members[0][0]], labels)
    if len(labels) < 2:
        raise ModelError(
            f"{query.id}: one continuation alone; the engines score two or more options against each other"
        )
    return ScoredTogether(query, tuple((index, labels.index(label)) for index, label in members))


def query_of(request: Request, labels: tuple[str, ...] = ()) -> Query:
    """Return the query that asks a request's question about its image.

    Raises:
        ModelError: as `scored_together`.
    """
    return Query(name_of(request), to_rgb(picture_of(request)), _question(request), labels)


def name_of(request: Request) -> str:
    """Return how a request is called in messages."""
    return f"{request.task_name or 'a task'}, document {request.doc_id}"


def picture_of(request: Request) -> Image.Image:
    """Return the one picture of a request.

    Raises:
        ModelError: it has none or several.
    """
    visuals = request.args[2].get("visual", []) if len(request.args) > 2 else []
    if len(visuals) != 1 or not isinstance(visuals[0], Image.Image):
        raise ModelError(f"{name_of(request)}: {len(visuals)} pictures; the engines ask about exactly one")
    picture: Image.Image = visuals[0]
    return picture


def _question(request: Request) -> str:
    """Return the words of a request's context; the engine puts the image before them."""
    context = str(request.args[0])
    words = context.removeprefix(PLACEHOLDER)
    if PLACEHOLDER in words:
        raise ModelError(
            f"{name_of(request)}: {PLACEHOLDER} inside the context; the engines put the image before the words"
        )
    if not words.strip():
        raise ModelError(f"{name_of(request)}: a context without words")
    return words


def writing_of(request: Request) -> Writing:
    """Read a request's `generation_kwargs`.

    Raises:
        ModelError: they ask for anything but greedy writing.
    """
    settings: Mapping[str, Any] = request.args[1]
    greedy = not settings.get("do_sample") and not settings.get("temperature")
    unknown = sorted(set(settings) - {"until", "max_gen_toks", "do_sample", "temperature"})
    if unknown or not greedy:
        what = f"generation_kwargs {', '.join(unknown)}" if unknown else "sampling"
        raise ModelError(
            f"{name_of(request)}: {what}: the engines write greedily, with until and max_gen_toks"
        )
    until = settings.get("until") or ()
    stops = (until,) if isinstance(until, str) else tuple(until)
    return Writing(int(settings.get("max_gen_toks", DEFAULT_TOKENS)), tuple(filter(None, stops)))


def by_writing(requests: Sequence[Request]) -> Iterator[tuple[Writing, list[int]]]:
    """Yield the indices of the requests that are written alike.

    Raises:
        ModelError: as `writing_of`.
    """
    groups: dict[Writing, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(writing_of(request), []).append(index)
    yield from groups.items()
