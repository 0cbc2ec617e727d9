"""Any causal model of transformers with an EmotionPrefix that was trained for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from dialogue.conversation import Message
from dialogue.models.local import Decoding, LocalModel, weights_digest
from dialogue.prefix import EmotionPrefix, turn_starts, weave

__all__ = ["PrefixedModel"]

_DECODING: Final = Decoding()


class PrefixedModel(LocalModel):
    """A model that is told of a feeling by virtual tokens in front of the turn, beside the note.

    What was read of earlier turns stays valid: their virtual tokens stay where they were.

    Args:
        model: Causal, in evaluation mode, on its device.
        tokenizer: Its own.
        prefix: Trained for this model.
        decoding: How words are drawn.
        seed: See `LocalModel`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        prefix: EmotionPrefix,
        decoding: Decoding = _DECODING,
        seed: int | None = None,
    ) -> None:
        self._prefix = prefix  # before the rest, which counts tokens
        super().__init__(model, tokenizer, decoding, seed)

    def _count(self, text: str) -> int:
        return super()._count(text) + self._prefix.shape.tokens

    def _encode(self, messages: Sequence[Message]) -> Tensor:
        ids = super()._encode(messages)[0]
        starts = turn_starts(self._tokenizer, messages, ids)
        affects = [message.affect for message in messages if message.role == "user"]
        return weave(ids, starts, affects, self._prefix.shape.tokens)[None]

    def _generate_from(self, ids: Tensor, settings: dict[str, Any], layers: Any) -> Tensor:
        """Read the talk through its embeddings, then write from its last token.

        Virtual tokens have no id that `generate` knows, but all of them are read by then.
        """
        if layers is None:
            return self._generate_at_once(ids, settings)
        ids = ids.to(self._model.device)
        new = ids[:, layers.get_seq_length() : -1]
        if new.shape[1]:
            with torch.inference_mode():
                self._model(
                    inputs_embeds=self._embedded(ids)[:, -new.shape[1] - 1 : -1],
                    past_key_values=layers,
                    use_cache=True,
                )
        written = super()._generate_from(ids.clamp(min=0), settings, layers)
        return torch.cat([ids, written[:, ids.shape[1] :]], 1)

    def _generate_at_once(self, ids: Tensor, settings: dict[str, Any]) -> Tensor:
        embedded = self._embedded(ids.to(self._model.device))
        there = torch.ones(embedded.shape[:2], dtype=torch.long, device=embedded.device)
        written: Tensor = self._model.generate(
            inputs_embeds=embedded, attention_mask=there, **settings
        )
        return written

    def reply_batch(self, talks: Sequence[Sequence[Message]]) -> list[str]:
        """Answer one talk after the other; see `dialogue.models.base.reply_batch`."""
        return [self.reply(talk) for talk in talks]

    def _logits(self, ids: Tensor) -> Tensor:
        logits: Tensor = self._model(
            inputs_embeds=self._embedded(ids.to(self._model.device))
        ).logits
        return logits

    def facts(self) -> dict[str, Any]:
        """Say which model this is; see `dialogue.models.base.facts_of`."""
        return super().facts() | {"prefix_sha256": weights_digest(self._prefix)}

    @torch.inference_mode()
    def _embedded(self, ids: Tensor) -> Tensor:
        """Look a talk up, (1, token) -> (1, token, width)."""
        return self._prefix.embed(self._model.get_input_embeddings(), ids)
