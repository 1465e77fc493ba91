"""The vLLM engine: label scores and free text of large models, fast; it cannot show a model's layers.

Prompts, label tokens and end tokens are those of the transformers engine, so that both put the same question.
vLLM gets a prompt as token ids with one placeholder, and makes of it what the image needs.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

from PIL import Image

from model_adapters.catalog.card import ModelCard, with_prompt
from model_adapters.engines.transformers.chat import ChatFormat
from model_adapters.engines.transformers.generation import read_generation
from model_adapters.engines.vllm.load import LoadedVllm, require_vllm, start
from model_adapters.engines.vllm.requests import (
    AT_MOST,
    Refusal,
    Request,
    Requests,
    label_scores,
    log_probabilities,
    next_token,
)
from model_adapters.engines.vllm.settings import VllmSettings, read_settings
from model_adapters.interface import (
    Generation,
    LabelScores,
    LoadOptions,
    ModelDescription,
    ModelError,
    Observation,
    Query,
    require_labels,
)
from model_adapters.support.label_tokens import Tokens, branchings
from probes.sites import Site

# Raised when this engine's answers may change for the same model and library versions.
ADAPTER_VERSION = 1

_GREY = Query("grey", Image.new("RGB", (96, 64), (127, 127, 127)), "?", ())


def load(card: ModelCard, options: LoadOptions) -> VllmEngine:
    """Load a card's model; see `registry.load_engine`.

    `batch_size` limits the sequences that vLLM reads at once. `model_args` may hold tensor_parallel_size,
    gpu_memory_utilization, max_model_len, enable_prefix_caching, enforce_eager, quantization, dtype,
    revision, system, answer_prefix, label_prefix; logprobs, a number of most likely tokens to read label
    scores from; structured_choice, for text that is one of the labels.

    Raises:
        ModelError: vLLM is not installed, an argument is unknown, or the model cannot be loaded.
    """
    require_vllm(card.name)
    from model_adapters.support.batching import parse_batch_size

    arguments, size = options.model_args, parse_batch_size(options.batch_size)
    settings = read_settings(card, arguments, dtype=options.dtype, batch_size=size)
    card = with_prompt(card, arguments)
    started = start(card, settings, options)
    return VllmEngine(card, started, settings)


class VllmEngine:
    """A model that vLLM holds. Satisfies `interface.Engine`; it has no sites."""

    def __init__(self, card: ModelCard, started: LoadedVllm, settings: VllmSettings) -> None:
        self.card = card
        self._llm, self._processor, self._end_ids = started.llm, started.processor, started.end_ids
        self._settings = settings
        self._chat = ChatFormat(started.processor, card.prompt, card.name)
        self._requests = Requests(started.llm, started.processor.tokenizer, self._chat, card.name)
        self.description = self._describe(started)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Nothing: vLLM shows no layer of a vision encoder or connector."""
        return ()

    def score(self, queries: Sequence[Query], *, observe: bool = False) -> Observation:
        """Score every query's labels by one-token requests; there are no features, whatever `observe` says.

        A label's raw score is the exact sum of log p over its tokens, before any penalty or temperature. The
        prompts are read first, then the places where labels of several tokens go on, on vLLM's cached
        prefixes. A query that vLLM refuses, or for which it leaves a label token's log-probability out, has
        an error for scores.

        Raises:
            ModelError: labels cannot be told apart, or vLLM fails.
        """
        require_labels(queries)
        labels = [self.tokens_of_labels(query) for query in queries]
        asked = [
            (index, self._branching(query, place, wanted[begin : begin + AT_MOST]))
            for index, query in enumerate(queries)
            for place, wanted in branchings(labels[index]).items()
            for begin in range(0, len(wanted), AT_MOST)
        ]
        found: list[dict[Tokens, dict[int, float]]] = [{} for _ in queries]
        refused: dict[int, str] = {}
        for deeper in (False, True):  # the prompts themselves first: what comes after finds them in the cache
            turn = [
                (i, request) for i, request in asked if bool(request.after) is deeper and i not in refused
            ]
            answers = self._requests.run([request for _, request in turn])
            for (index, request), answer in zip(turn, answers, strict=True):
                if isinstance(answer, Refusal):
                    refused[index] = answer.reason
                else:
                    found[index].setdefault(request.after, {}).update(log_probabilities(answer))
        return Observation(
            tuple(
                LabelScores((), (), error=refused[index])
                if index in refused
                else label_scores(tokens, found[index])
                for index, tokens in enumerate(labels)
            )
        )

    def generate(self, queries: Sequence[Query], *, max_new_tokens: int) -> tuple[Generation, ...]:
        """Let the model write greedily, with the card's penalty on repetition, up to the end of its turn.

        With the setting structured_choice it writes one of the query's labels; see `choose`.
        """
        if self._settings.structured_choice:
            return self.choose(queries)
        from vllm import SamplingParams

        sampling = SamplingParams(
            temperature=0.0,
            max_tokens=max_new_tokens,
            repetition_penalty=self.card.generation.repetition_penalty,
            stop_token_ids=sorted(self._end_ids),
            ignore_eos=True,  # the end tokens above are all, as with transformers
            detokenize=False,
        )
        answers = self._requests.run([Request(query, sampling) for query in queries])
        return tuple(self._written(answer) for answer in answers)

    def choose(self, queries: Sequence[Query]) -> tuple[Generation, ...]:
        """Let the model write one of each query's labels: greedily, with every other text forbidden.

        That needs no log-probabilities. It need not be the label of the largest score, since each token is
        chosen without a look at what can follow it. The text is the label itself.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        prefixes = [self._chat.label_prefix(self.rendered(query)) for query in queries]
        requests = []
        for query, prefix in zip(queries, prefixes, strict=True):
            texts = [prefix + label for label in query.labels]
            sampling = SamplingParams(
                temperature=0.0,
                max_tokens=max(len(text.encode()) for text in texts)
                + 1,  # a byte a token at most, and the end
                structured_outputs=StructuredOutputsParams(choice=texts),
            )
            requests.append(Request(query, sampling))
        return tuple(
            _chosen(answer, query, prefix)
            for answer, query, prefix in zip(self._requests.run(requests), queries, prefixes, strict=True)
        )

    def rendered(self, query: Query) -> str:
        """Return the text that the model reads for a query, its image as one placeholder."""
        return self._chat.render(query.prompt)

    def tokens_of_labels(self, query: Query) -> tuple[Tokens, ...]:
        """Return the token ids that a query's labels are scored by.

        Raises:
            ModelError: labels cannot be told apart, or cannot be written after the prompt.
        """
        return self._chat.label_tokens(self.rendered(query), query.labels, self._end_ids)

    def prompt_tokens(self, query: Query) -> Tokens:
        """Return the token ids that vLLM reads for a query, those of its image included.

        Raises:
            ModelError: vLLM refuses the query.
        """
        answer = self._requests.run([self._branching(query, (), (0,))])[0]
        if isinstance(answer, Refusal):
            raise ModelError(f"{self.card.name}: {answer.reason}")
        return tuple(answer.prompt_token_ids)

    def close(self) -> None:
        """Free the model's memory, and end the processes that hold it."""
        import torch

        llm = self.__dict__.pop("_llm", None)
        self.__dict__.pop("_requests", None)
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()  # vLLM's parts refer to each other in circles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _branching(self, query: Query, place: Tokens, wanted: Tokens) -> Request:
        return Request(query, next_token(wanted, self._settings.logprobs), place)

    def _written(self, answer: Any) -> Generation:
        if isinstance(answer, Refusal):
            return Generation("", finished=False, error=answer.reason)
        tokens = list(answer.outputs[0].token_ids)
        return read_generation(tokens, self._end_ids, self._processor.tokenizer)

    def _describe(self, started: LoadedVllm) -> ModelDescription:
        import torch
        import transformers
        import vllm

        from model_adapters.engines.transformers.processors import settings_of

        return ModelDescription(
            name=self.card.name,
            hub_id=self.card.hub_id,
            revision=started.revision,
            architecture=started.architecture,
            parameters=started.parameters,
            engine="vllm",
            dtype=started.dtype,
            device=started.device,
            fingerprint={
                "adapter_version": ADAPTER_VERSION,
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "vllm": vllm.__version__,
                "settings": self._settings.influential,
                "prompt": self.card.prompt.model_dump(),
                "processor": settings_of(started.processor),
            },
            remarks=self._remarks(started),
        )

    def _remarks(self, started: LoadedVllm) -> tuple[str, ...]:
        """Return what a user should know of how vLLM reads this model; a grey picture is put to it once."""
        remarks = []
        if started.reads_images_both_ways and started.device == "cpu":
            remarks.append(
                f"{self.card.name}: vLLM on the CPU lets an image's tokens see those before them alone, where this "
                "model lets all see each other; its answers are not the model's"
            )
        own, read = self._own_prompt_tokens(), self.prompt_tokens(_GREY)
        if own != read:
            remarks.append(
                f"{self.card.name}: vLLM makes {len(read)} tokens of a question about a grey picture, the model's "
                f"own processor {len(own)}, and not the same ones; see how far the answers agree"
            )
        return tuple(remarks)

    def _own_prompt_tokens(self) -> Tokens:
        rendered = self.rendered(_GREY)
        made = self._processor(
            text=[rendered],
            images=[[_GREY.image]],
            return_tensors="pt",
            add_special_tokens=self._chat.adds_special_tokens(rendered),
        )
        return tuple(made["input_ids"][0].tolist())


def _chosen(answer: Any, query: Query, prefix: str) -> Generation:
    if isinstance(answer, Refusal):
        return Generation("", finished=False, error=answer.reason)
    text = str(answer.outputs[0].text).removeprefix(prefix)
    return Generation(text, finished=text in query.labels)
