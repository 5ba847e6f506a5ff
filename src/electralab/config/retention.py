"""What a model still knows of its pretraining, measured on held-out text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from electralab.config.base import Name, Seed, Strict

SPECIAL_IN_WINDOW = 2  # [CLS] and [SEP]


class Retention(Strict):
    """How to measure what is left of pretraining, on windows of held-out documents.

    A model with a head for masked words is asked for every token (pseudo-perplexity); an ELECTRA discriminator detects
    the tokens that a frozen generator replaced (AUC).
    """

    corpus: Name = Field(description="Corpus whose held-out documents are read.")
    sequences: Annotated[int, Field(ge=1)] = Field(
        200, description="Windows, sampled by `seed` from all windows of the documents; fewer where there are fewer."
    )
    window: Annotated[int, Field(ge=8)] = Field(128, description="Tokens of a window, [CLS] and [SEP] included.")
    stride: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Tokens from the start of a window to that of the next; each token counts once, in the first "
        "window that holds it. null: windows do not overlap.",
    )
    batch_tokens: Annotated[int, Field(ge=1)] = Field(4096, description="Tokens that are computed together.")
    seed: Seed = Field(0, description="Of the sample, the masks and the generator's draws: the same for every model.")
    generator: str | None = Field(
        None,
        description="For discriminators: the model whose frozen generator replaces tokens, of one size (`tiny-g25`) or "
        "of `models`. null: that of the discriminator's own pretraining.",
    )
    published_windows: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Also `published_perplexity`, as Prune As You Tune computed it, on this many windows of the text "
        "joined end to end; 0: not measured.",
    )

    @property
    def text_tokens(self) -> int:
        """Tokens of a document in a window."""
        return self.window - SPECIAL_IN_WINDOW

    @model_validator(mode="after")
    def _no_gaps(self) -> Retention:
        if self.stride is not None and self.stride > self.text_tokens:
            raise ValueError(
                f"stride {self.stride} leaves out tokens between windows of {self.text_tokens} tokens of text: use at "
                f"most {self.text_tokens}"
            )
        return self
