"""The OpenAI-compatible engine: a model behind `vllm serve`, or any other server of that protocol.

It answers and shows no layers. A question that a server cannot answer gets an error, the others go on; a
server that answers nothing any more ends the run with a `ModelError` before anything of that batch is
filed, so that the run can be taken up again where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from model_adapters.catalog.card import ModelCard
from model_adapters.engines.openai.client import Client, RequestFailed, server_settings
from model_adapters.engines.openai.label_scores import (
    TokenScorer,
    label_that_begins_another,
    score_by_strings,
)
from model_adapters.engines.openai.protocol import (
    CHAT,
    GREY,
    Server,
    chat_request,
    detect_server,
    image_url,
    read_text,
    read_top,
)
from model_adapters.interface import (
    Abilities,
    Generation,
    LabelScores,
    LoadOptions,
    ModelDescription,
    ModelError,
    Observation,
    Query,
    Usage,
    require_labels,
)
from probes.sites import Site

# Raised when this engine's answers may change for the same server.
ADAPTER_VERSION = 1

Value = TypeVar("Value")


def load(card: ModelCard, options: LoadOptions) -> OpenAIEngine:
    """Reach a card's server; see `registry.load_engine`. Device, dtype and batches are the server's own.

    `model_args` may hold what `client.ARGUMENTS` lists: base_url, model, api_key_env, timeout (seconds),
    attempts, concurrency, backoff (seconds before the first retry), top_logprobs, prefill (yes: the server
    continues a prefilled answer), input_price and output_price with currency, system, answer_prefix and
    label_prefix.

    Raises:
        ModelError: an argument is wrong, or the server is not there or cannot be asked as the card wants.
    """
    settings = server_settings(card, options.model_args)
    if options.offline and not settings.on_this_machine:
        raise ModelError(f"{card.name}: --offline, but the server at {settings.base_url} is on the network")
    client = Client(settings)
    try:
        server = client.run(partial(detect_server, client, scores=card.headline == "scores"))
        return OpenAIEngine(card, client, server)
    except BaseException:
        client.close()
        raise


class OpenAIEngine:
    """A model behind a server. Satisfies `interface.Engine` and `interface.Metered`."""

    def __init__(self, card: ModelCard, client: Client, server: Server) -> None:
        self.card = card
        self._client, self._server = client, server
        self._settings, self._capabilities = client.settings, server.capabilities
        if self._settings.prompt.answer_prefix and not self._capabilities.prefill:
            raise ModelError(
                f"{card.name}: the server does not go on with a begun answer, as prompt.answer_prefix "
                f"{self._settings.prompt.answer_prefix!r} needs; set it to nothing, or add --model-args "
                "prefill=yes for a server that does without saying so"
            )
        self._by_tokens = TokenScorer(client, server.capabilities)
        self.description = self._describe()

    @property
    def sites(self) -> tuple[Site, ...]:
        """Nothing can be watched: a server shows no layers."""
        return ()

    @property
    def usage(self) -> Usage:
        """Return what the server was asked for since it was loaded, its first questions included."""
        return self._client.usage

    def score(self, queries: Sequence[Query], *, observe: bool = False) -> Observation:
        """Score every query's labels by the first tokens that tell them apart; `observe` shows nothing.

        `raw` and `normalised` are equal: log p of a label's tokens up to the first that no other label of
        the query has. They compare within a query alone. A server that tells its tokens, as vLLM does, gives
        the model's own value of each; any other the most likely tokens, read by `label_scores`.

        Raises:
            ModelError: labels cannot be told apart, the key is not accepted, or the server is gone.
        """
        require_labels(queries)
        if not self.description.abilities.label_scores:
            return Observation(tuple(LabelScores((), (), error=self._no_scores()) for _ in queries))
        results = self._ask_each(queries, self._score)
        return Observation(
            tuple(LabelScores((), (), error=str(r)) if isinstance(r, RequestFailed) else r for r in results)
        )

    def generate(self, queries: Sequence[Query], *, max_new_tokens: int) -> tuple[Generation, ...]:
        """Let the model write its answer greedily.

        Raises:
            ModelError: the key is not accepted, or the server is gone.
        """
        results = self._ask_each(queries, partial(self._write, max_new_tokens=max_new_tokens))
        return tuple(
            Generation("", finished=False, error=str(r)) if isinstance(r, RequestFailed) else r
            for r in results
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask_each(
        self, queries: Sequence[Query], ask: Callable[[Query], Awaitable[Value]]
    ) -> list[Value | RequestFailed]:
        return self._client.run(partial(self._each_or_gone, queries, ask))

    async def _each_or_gone(
        self, queries: Sequence[Query], ask: Callable[[Query], Awaitable[Value]]
    ) -> list[Value | RequestFailed]:
        """Ask every query. Where some failed for a reason that is not their own, see that the server is there.

        It is there if it answers the same kind of question about a grey picture. Else what failed would be
        filed as the model's errors, and the rest of the run after it.
        """
        results = await self._client.map(ask, queries)
        failed = [(q, r) for q, r in zip(queries, results, strict=True) if isinstance(r, RequestFailed)]
        doubtful = next(((q, r) for q, r in failed if r.kind != "refused"), None)
        if doubtful is None:
            return results
        query, failure = doubtful
        try:
            await ask(Query("grey", GREY, query.prompt, query.labels))
        except RequestFailed as again:
            if again.kind == "refused":  # an answer all the same
                return results
            raise ModelError(
                f"{self.card.name}: {self._settings.base_url} does not answer any more ({again}; query "
                f"{query.id!r}: {failure}); what was answered is kept: run the same command again once it does"
            ) from again
        return results

    async def _score(self, query: Query) -> LabelScores:
        url = await asyncio.to_thread(image_url, query.image)
        if self._capabilities.tokens:
            return await self._by_tokens.score(query, url)
        if pair := label_that_begins_another(query.labels):
            raise ModelError(
                f"{self.card.name}: label {pair[0]!r} begins label {pair[1]!r}, and this server's "
                "log-probabilities cannot tell them apart; headline: generated on the card needs no scores"
            )
        options = {"logprobs": True, "top_logprobs": self._capabilities.top_logprobs}
        prompt = self._settings.prompt
        labels = [(prompt.label_prefix or "").lstrip() + label for label in query.labels]

        async def tokens_after(text: str) -> list[tuple[str, float]]:
            prefill = prompt.answer_prefix + text
            return await self._chat(query, url, read_top, prefill=prefill, max_tokens=1, **options)

        return await score_by_strings(labels, tokens_after, can_follow=self._capabilities.prefill)

    async def _write(self, query: Query, *, max_new_tokens: int) -> Generation:
        url = await asyncio.to_thread(image_url, query.image)
        options: dict[str, Any] = {}
        if self._capabilities.penalty:  # else a model's own recommendation would be applied
            options["repetition_penalty"] = self.card.generation.repetition_penalty
        prefix = self._settings.prompt.answer_prefix
        return await self._chat(query, url, read_text, prefill=prefix, max_tokens=max_new_tokens, **options)

    async def _chat(self, query: Query, url: str, read: Callable[[Any], Value], **options: Any) -> Value:
        body = chat_request(self._settings, self._capabilities, query.prompt, url, **options)
        return await self._client.ask(CHAT, body, read)

    def _no_scores(self) -> str:
        if self.card.headline == "generated":
            return "label scores were not asked for: the card's headline is generated"
        return "the server gives no log-probabilities; headline: generated on the card judges the model by its text"

    def _describe(self) -> ModelDescription:
        capabilities = self._capabilities
        scores = "tokens" if capabilities.tokens else "top_logprobs" if capabilities.top_logprobs else None
        return ModelDescription(
            name=self.card.name,
            hub_id=self.card.hub_id,
            revision=f"server:{self._server.revision}",
            architecture=self.card.architecture or "unknown (server)",
            parameters=0,
            engine="openai",
            dtype="unknown",
            device="server",
            fingerprint={
                "adapter_version": ADAPTER_VERSION,
                "model": self._settings.model,
                "software": self._server.software,
                "label_scores": scores,
                "top_logprobs": capabilities.top_logprobs,
                "prefill": capabilities.prefill,
                "greedy": capabilities.temperature,
                "prompt": self._settings.prompt.model_dump(),
            },
            abilities=Abilities(label_scores=scores is not None, generation=True, reads_prompts=True),
            remarks=(*self._server.remarks, *self._not_sent()),
        )

    def _not_sent(self) -> tuple[str, ...]:
        """Say which of the card's settings the server does not hear of."""
        card, found = self.card, []
        if card.generation.repetition_penalty != 1 and not self._capabilities.penalty:
            found.append("generation.repetition_penalty")
        if card.prompt.chat_template is not None:
            found.append("prompt.chat_template")
        if card.processor:
            found.append("processor")
        return tuple(f"{card.name}: the card's {key} is not sent; the server has its own" for key in found)
