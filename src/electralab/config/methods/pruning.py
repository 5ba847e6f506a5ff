"""Weights set to zero, before or after training, and structures taken out."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from electralab.config.base import Strict
from electralab.config.methods.distillation import Taught
from electralab.config.methods.full import WholeTraining
from electralab.config.methods.growth import Growing
from electralab.config.methods.link import Form, Link

Sparsity = Annotated[float, Field(ge=0, lt=1)]
Criterion = Literal["l1", "l2", "random", "wanda", "sparsegpt"]
Structure = Literal["unstructured", "rows", "columns", "2:4"]
CALIBRATED = ("wanda", "sparsegpt")


class Pruning(Strict):
    """Which weights are set to zero."""

    criterion: Criterion = Field(
        "l1",
        description="Which go first. `l1`, `l2`: those with the smallest norm; `random`; `wanda`: the smallest product "
        "of weight and norm of its input (Sun et al. 2024); `sparsegpt`: those whose loss is smallest where the others "
        "of their row make up for it (Frantar and Alistarh 2023).",
    )
    structure: Structure = Field(
        "unstructured",
        description="`unstructured`: single weights; `rows`: whole outputs of a layer; `columns`: whole inputs; `2:4`: "
        "two of every four inputs, which GPUs since Ampere can skip.",
    )
    among: Literal["layer", "global"] = Field(
        "layer", description="Compared within a layer, or over all layers: these then differ in sparsity."
    )
    sparsity: Sparsity = Field(0.5, description="Share of the weights that are set to zero, of what `parts` names.")
    parts: Literal["encoder", "published"] = Field(
        "encoder",
        description="`encoder`: the weights of the encoder's dense layers; `published`: also their biases, and the "
        "head (efficient ELECTRA). Never embeddings and norms.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse what no such method does."""
        structured = self.structure in ("rows", "columns")
        if self.structure == "2:4" and self.sparsity != 0.5:
            raise ValueError("structure 2:4 is a sparsity of 0.5: leave sparsity out")
        if self.among == "global" and (self.structure != "unstructured" or self.criterion not in ("l1", "random")):
            raise ValueError("among: global is for unstructured l1 and random: use among: layer")
        if self.criterion in CALIBRATED and (structured or self.parts == "published"):
            raise ValueError(f"criterion {self.criterion} prunes single weights, or 2:4, of parts: encoder alone")
        if self.criterion == "l2" and not structured:
            raise ValueError("criterion l2 is for structure rows or columns: single weights are pruned by l1")
        if self.criterion == "random" and structured:
            raise ValueError("rows and columns are pruned by criterion l1 or l2")
        return self


class Prune(Pruning, Link):
    """A fine-tuned model some of whose weights are zero; nothing is trained afterwards: let `recover` follow."""

    opens: ClassVar[frozenset[Form]] = frozenset({"huggingface"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["prune"] = "prune"
    calibration_rows: Annotated[int, Field(ge=1)] = Field(
        256, description="Training rows, drawn by seed, whose inputs `wanda` and `sparsegpt` look at."
    )


class PruneFull(Growing, Pruning, WholeTraining):
    """A pretrained encoder that is pruned before it is fine-tuned, or more and more while it is; zeros are kept."""

    opens: ClassVar[frozenset[Form]] = frozenset({"pretrained"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["prune_full"] = "prune_full"
    trained: Literal["all", "head"] = Field(
        "all", description="`head`: nothing but the head is trained, for what pruning alone leaves of an encoder."
    )

    @model_validator(mode="after")
    def _no_rows_yet(self) -> Self:
        """What looks at a fine-tuned model's inputs has none; 2:4 has no half way."""
        if self.criterion in CALIBRATED:
            raise ValueError(f"criterion {self.criterion} looks at a fine-tuned model: use a method of kind prune")
        if self.structure == "2:4" and self.growth != "once":
            raise ValueError(f"structure 2:4 is pruned at once: growth {self.growth} is for other structures")
        return self


class Recover(Taught, WholeTraining):
    """Training that goes on from a fine-tuned model, whose head and pooling it keeps; what is zero stays zero."""

    opens: ClassVar[frozenset[Form]] = frozenset({"huggingface"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["recover"] = "recover"


class Remove(Link):
    """A fine-tuned encoder without some layers and feed-forward neurons: smaller and faster, not only sparser."""

    opens: ClassVar[frozenset[Form]] = frozenset({"huggingface"})
    leaves: ClassVar[Form | None] = "huggingface"

    kind: Literal["remove"] = "remove"
    layers: list[Annotated[int, Field(ge=0)]] = Field(
        [], description="Numbers of the layers that go, from 0 at the embeddings."
    )
    neurons: Sparsity = Field(0.0, description="Share of the feed-forward neurons of every layer that go.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        """Something has to go."""
        if not self.layers and not self.neurons:
            raise ValueError("nothing is removed: give layers or neurons")
        return self


class RemoveHeads(Link):
    """A fine-tuned encoder without some attention heads, as an ONNX graph: `transformers` has no such models."""

    opens: ClassVar[frozenset[Form]] = frozenset({"huggingface"})
    leaves: ClassVar[Form | None] = "onnx"

    kind: Literal["remove_heads"] = "remove_heads"
    heads: Annotated[float, Field(gt=0, lt=1)] = Field(0.25, description="Share of every layer's heads that go.")
    neurons: Sparsity = Field(0.0, description="Share of the feed-forward neurons of every layer that go.")
