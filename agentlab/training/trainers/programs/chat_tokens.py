"""Conversations in tokens: what the base's own chat template makes of messages, with a mask.

The mask is the template's own, by `{% generation %}`. Where the template has no such marks, TRL's
patched one for its family is asked for the mask, and believed only where it renders the very same
ids: a template that is another one in training than in practice teaches what is never asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from trainer_job import Refused

Messages = Sequence[dict[str, Any]]


class Said(NamedTuple):
    """A conversation in tokens."""

    ids: list[int]
    drawn: list[bool]
    """Of each token, whether the model writes it."""


class Conversations:
    """Renders conversations with one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._marked: str | None = None

    def whole(self, messages: Messages, tools: object, *, number: int) -> Said:
        """A conversation, its replies marked.

        Args:
            messages: as in the row.
            tools: as in the row.
            number: of the row, for what is said of it.

        Raises:
            Refused: the template says of no token that the model writes it.
        """
        own = self._render(messages, tools, None)
        template = self._template()
        said = own if template is None else self._render(messages, tools, template)
        if said.ids != own.ids:
            raise Refused(
                f"Row {number} cannot be masked: the base's chat template has no "
                "{% generation %} marks, and with TRL's marked one it reads otherwise; put the "
                "marks into the base's template, or export token ids (--format trl-sft)."
            )
        if not any(said.drawn):
            raise Refused(
                f"Row {number} has an all-zero mask: by the chat template no token of it is the "
                "model's own; put {% generation %} marks around replies in the base's template."
            )
        return said

    def split(
        self, prompt: Messages, completion: Messages, tools: object, *, number: int
    ) -> tuple[list[int], Said]:
        """The ids of a prompt, and a completion after it.

        Raises:
            Refused: the prompt with its completion does not begin with the prompt alone.
        """
        first = self._ids(prompt, tools, prompting=True)
        both = self.whole([*prompt, *completion], tools, number=number)
        if both.ids[: len(first)] != first:
            raise Refused(
                f"Row {number}: with the completion the chat template renders the prompt "
                "otherwise than alone, so the model would be trained on a prompt that it is never "
                "shown; take a template that keeps what came before."
            )
        rest = Said(both.ids[len(first) :], both.drawn[len(first) :])
        if not any(rest.drawn):
            raise Refused(f"Row {number} has an all-zero mask: no token after its prompt counts.")
        return first, rest

    def _template(self) -> str | None:
        """A template with marks for the mask; None where the tokenizer's own has them."""
        own = cast("str", self._tokenizer.chat_template or "")
        if "{% generation %}" in own or "{%- generation" in own or "{% generation" in own:
            return None
        if self._marked is None:
            from trl.chat_template_utils import (  # pyright: ignore[reportMissingImports]
                get_training_chat_template,  # pyright: ignore[reportUnknownVariableType]
            )

            try:
                self._marked = cast("str", get_training_chat_template(self._tokenizer))
            except ValueError as error:
                raise Refused(
                    "The base's chat template does not say which tokens are the model's own, and "
                    "TRL knows no marked one for it; put {% generation %} marks around replies, or "
                    "export token ids (--format trl-sft)."
                ) from error
        return self._marked

    def _ids(self, messages: Messages, tools: object, *, prompting: bool) -> list[int]:
        found = self._tokenizer.apply_chat_template(
            list(messages), tools=tools, add_generation_prompt=prompting, return_dict=True
        )
        return list(cast("list[int]", found["input_ids"]))

    def _render(self, messages: Messages, tools: object, template: str | None) -> Said:
        found = self._tokenizer.apply_chat_template(
            list(messages),
            tools=tools,
            chat_template=template,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        ids = list(cast("list[int]", found["input_ids"]))
        mask = list(cast("list[int]", found["assistant_masks"]))
        return Said(ids, [bool(each) for each in mask])
