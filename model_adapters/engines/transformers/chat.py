"""From a question to the text that a model reads: chat template, placeholder, beginning of the answer."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from model_adapters.catalog.card import PromptSettings
from model_adapters.interface import ModelError
from model_adapters.support.label_tokens import Tokens, label_tokens


class ChatFormat:
    """Renders questions with a model's own chat template, exactly once, and knows how its turns end."""

    def __init__(self, processor: Any, settings: PromptSettings, name: str) -> None:
        self._processor, self._settings, self._name = processor, settings, name
        self._tokenizer = processor.tokenizer
        self._template = settings.chat_template or _template_of(processor)
        if self._template is None:
            raise ModelError(
                f"{name}: the model ships no chat template; give its card one under prompt.chat_template"
            )
        self.render = lru_cache(maxsize=4096)(self._render)
        self.label_tokens = lru_cache(maxsize=4096)(self._label_tokens)

    def _render(self, prompt: str) -> str:
        """Return the text of a question, up to where the answer begins, with one image placeholder.

        Raises:
            ModelError: the template cannot be rendered, or puts no placeholder or several.
        """
        text = self._apply(self._messages(prompt), generation=True)
        placeholder = getattr(self._processor, "image_token", None)
        if isinstance(placeholder, str) and (count := text.count(placeholder)) != 1:
            raise ModelError(
                f"{self._name}: the rendered prompt has {count} image placeholders {placeholder!r} "
                "instead of one; see the chat template, or the question's words"
            )
        return text + self._settings.answer_prefix

    def adds_special_tokens(self, rendered: str) -> bool:
        """Tell whether the tokenizer has to add its own: not where the template wrote the first token."""
        first = self._tokenizer.bos_token
        return not (first is not None and rendered.startswith(first))

    def label_prefix(self, rendered: str) -> str:
        """Return what stands between a prompt and its answer: a space where none ends the prompt."""
        if self._settings.label_prefix is not None:
            return self._settings.label_prefix
        if rendered[-1:].isspace() or any(rendered.endswith(token) for token in self._markers()):
            return ""
        return " "

    def _label_tokens(
        self, rendered: str, labels: tuple[str, ...], end_ids: frozenset[int]
    ) -> tuple[Tokens, ...]:
        """Return the token ids that labels are scored by after a rendered prompt; see `label_tokens`.

        Raises:
            ModelError: labels cannot be told apart, or cannot be written after the prompt.
        """
        try:
            return label_tokens(
                self._tokenizer,
                rendered,
                labels,
                prefix=self.label_prefix(rendered),
                add_special_tokens=self.adds_special_tokens(rendered),
                end_of_turn=lambda: self.end_of_turn(end_ids),
            )
        except ModelError as error:
            raise ModelError(f"{self._name}: {error}") from error

    def end_of_turn(self, end_ids: frozenset[int]) -> int:
        """Return the token that ends the model's turn: the one its template writes after an answer.

        `end_ids` are the tokens at which generation stops; they decide where the template writes none.

        Raises:
            ModelError: there is no such token.
        """
        answer = "answer"
        open_turn = self._apply(self._messages("?"), generation=True)
        turn = [{"role": "assistant", "content": [{"type": "text", "text": answer}]}]
        whole = self._apply(self._messages("?") + turn, generation=False)
        rest = whole[len(open_turn) :].partition(answer)[2].lstrip() if whole.startswith(open_turn) else ""
        ids = self._tokenizer(rest, add_special_tokens=False)["input_ids"] if rest else []
        if ids and (ids[0] in end_ids or ids[0] in self._markers().values()):
            return int(ids[0])
        if self._tokenizer.eos_token_id is not None:
            return int(self._tokenizer.eos_token_id)
        if end_ids:
            return min(end_ids)
        raise ModelError(f"{self._name}: the tokenizer has no end-of-turn token")

    def _messages(self, prompt: str) -> list[dict[str, Any]]:
        question = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
        if self._settings.system is None:
            return [question]
        return [{"role": "system", "content": [{"type": "text", "text": self._settings.system}]}, question]

    def _apply(self, messages: list[dict[str, Any]], *, generation: bool) -> str:
        from jinja2 import TemplateError

        try:
            return str(
                self._processor.apply_chat_template(
                    messages, chat_template=self._template, tokenize=False, add_generation_prompt=generation
                )
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise ModelError(f"{self._name}: the chat template cannot be rendered ({error})") from error

    def _markers(self) -> dict[str, int]:
        """Return the tokens that are no text. Not all are "special" by name: Gemma's end of a turn is not."""
        tokenizer = self._tokenizer
        special = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
        return {**tokenizer.get_added_vocab(), **dict(special)}


def _template_of(processor: Any) -> str | None:
    for holder in (processor, processor.tokenizer):
        template = getattr(holder, "chat_template", None)
        if isinstance(template, dict):
            template = template.get("default")
        if isinstance(template, str):
            return template
    return None
