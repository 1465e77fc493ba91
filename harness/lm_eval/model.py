"""Our engines as a model of lm-eval. Importing this module needs lm-eval and registers the name `harness`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

try:
    import lm_eval.models  # noqa: F401  (lm-eval lists its own models only where none is registered yet)
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ModuleNotFoundError as error:
    if error.name != "lm_eval":
        raise
    raise ModuleNotFoundError(
        "lm-eval is not installed: pip install 'mllm-harness[lm-eval]'", name=error.name
    ) from error

from harness.console import Console
from harness.data.progress import Step, silent
from harness.lm_eval.requests import Request, by_writing, query_of, scored_together
from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.interface import Engine, ModelError, Trainable

_AT_ONCE = 64  # queries handed to the engine, which cuts them into passes as it sees fit


@register_model("harness")
class HarnessLM(LM):
    """One of our models with any of our engines, for tasks of one image a question.

    Options of `multiple_choice` are scored by one prefill an image; free answers are written greedily. The
    engine renders the model's chat template itself, with `--apply_chat_template` and without. lm-eval's
    "is_greedy" of an option is not found out and is False, so that of its metrics for multiple choice
    `exact_match` means nothing here.
    """

    MULTIMODAL = True

    def __init__(
        self,
        model: str | Engine,
        *,
        engine: str = "auto",
        device: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        trust_remote_code: bool = False,
        offline: bool = False,
        **model_args: Any,
    ) -> None:
        """Load `model`, a name, card, folder or hub id as `harness eval --models` takes it; or take an engine.

        Raises:
            ModelError: the name stands for no model or several, it cannot be loaded, or must be trained first.
        """
        super().__init__()
        if isinstance(model, str):
            chosen = resolve([model])
            if len(chosen) != 1:
                raise ModelError(f"{model} stands for {len(chosen)} models; name one")
            self.engine = load_engine(
                chosen[0].card,
                engine=engine,
                device=device or "auto",
                batch_size=batch_size,
                trust_remote_code=trust_remote_code,
                offline=offline,
                model_args={key: str(value) for key, value in model_args.items()},
            )
        else:
            self.engine = model
        if isinstance(self.engine, Trainable):
            raise ModelError(
                f"{self.engine.description.name}: is trained on each task's own images, which lm-eval's tasks do "
                "not hand over; use `harness eval`"
            )
        self._device = self.engine.description.device

    def loglikelihood(
        self, requests: Sequence[Request], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return for each request the log-likelihood of its continuation in nats, and False (see the class).

        Raises:
            ModelError: a request cannot be asked, or the engine gave no score.
        """
        groups = scored_together(requests)
        found: dict[int, tuple[float, bool]] = {}
        with _step(disable_tqdm)("label scores", len(groups)) as advance:
            for start in range(0, len(groups), _AT_ONCE):
                batch = groups[start : start + _AT_ONCE]
                seen = self.engine.score([group.query for group in batch])
                for group, scores in zip(batch, seen.scores, strict=True):
                    if scores.error is not None:
                        raise ModelError(f"{group.query.id}: no label scores: {scores.error}")
                    for index, label in group.answers:
                        found[index] = (scores.raw[label], False)
                        self.cache_hook.add_partial("loglikelihood", requests[index].args, found[index])
                advance(len(batch))
        return [found[index] for index in range(len(requests))]

    def generate_until(self, requests: Sequence[Request], disable_tqdm: bool = False) -> list[str]:
        """Return what the model writes for each request.

        Raises:
            ModelError: a request cannot be asked, or the engine wrote nothing.
        """
        found: dict[int, str] = {}
        with _step(disable_tqdm)("free answers", len(requests)) as advance:
            for writing, indices in by_writing(requests):
                for start in range(0, len(indices), _AT_ONCE):
                    batch = indices[start : start + _AT_ONCE]
                    queries = [query_of(requests[index]) for index in batch]
                    written = self.engine.generate(queries, max_new_tokens=writing.max_new_tokens)
                    for index, query, answer in zip(batch, queries, written, strict=True):
                        if answer.error is not None:
                            raise ModelError(f"{query.id}: no free answer: {answer.error}")
                        found[index] = writing.cut(answer.text)
                        self.cache_hook.add_partial("generate_until", requests[index].args, found[index])
                    advance(len(batch))
        return [found[index] for index in range(len(requests))]

    def loglikelihood_rolling(self, requests: Sequence[Request], disable_tqdm: bool = False) -> list[float]:
        """Refuse: the engines answer questions about images."""
        raise ModelError("loglikelihood_rolling: the engines answer questions about images, one each")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return the user's turn as it is: the engine renders the chat template.

        Raises:
            ModelError: there is more than that one turn.
        """
        if not add_generation_prompt or [turn["role"] for turn in chat_history] != ["user"]:
            raise ModelError(
                "the engines ask one question in one turn: no few-shot examples, no gen_prefix; a system turn is "
                "given by --model_args system=…"
            )
        return chat_history[0]["content"]

    @property
    def tokenizer_name(self) -> str:
        """The model in lm-eval's cache of requests."""
        return f"{self.engine.description.name}@{self.engine.description.revision}"

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes about the model under `config`."""
        described = self.engine.description
        return {
            "model_name": described.name,
            "model_num_parameters": described.parameters,
            "model_dtype": described.dtype,
            "model_revision": described.revision,
            "model_sha": described.revision,
        }


def _step(disabled: bool) -> Step:
    return silent if disabled else Console().step
