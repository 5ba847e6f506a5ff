"""The methods of a chain: their options, and what each may follow. One file a family; the code is `electralab.methods`.

A new method is a class here, in the union that it belongs to, and its code.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from electralab.config.methods.adapters import (
    AdaLora,
    Ia3,
    Loha,
    Lora,
    Oft,
    Prefix,
    Prompt,
    Qlora,
)
from electralab.config.methods.distil import Distil
from electralab.config.methods.full import FullFinetuning
from electralab.config.methods.half import Half
from electralab.config.methods.in_context import InContext
from electralab.config.methods.linear_probe import LinearProbe
from electralab.config.methods.low_bit import BnbInt8, Nf4
from electralab.config.methods.merge import Merge
from electralab.config.methods.prune_as_you_tune import PruneAsYouTune
from electralab.config.methods.pruning import Prune, PruneFull, Recover, Remove, RemoveHeads
from electralab.config.methods.qat import Qat
from electralab.config.methods.quantization import DynamicInt8, OpenvinoInt8, StaticInt8, WeightOnlyInt4, WeightOnlyInt8
from electralab.config.methods.tfidf import TfidfBaseline
from electralab.config.methods.trim_vocabulary import TrimVocabulary

AdapterMethod = Lora | Qlora | AdaLora | Prefix | Prompt | Ia3 | Loha | Oft
_Quantization = DynamicInt8 | StaticInt8 | OpenvinoInt8 | WeightOnlyInt8 | WeightOnlyInt4 | Qat | Nf4 | BnbInt8
_Pruning = Prune | PruneFull | Recover | Remove | RemoveHeads | PruneAsYouTune
_OfModels = (
    FullFinetuning
    | LinearProbe
    | AdapterMethod
    | InContext
    | Merge
    | Half
    | TrimVocabulary
    | _Quantization
    | _Pruning
    | Distil
)
FinetuningMethod = Annotated[_OfModels, Field(discriminator="kind")]
Method = Annotated[_OfModels | TfidfBaseline, Field(discriminator="kind")]

__all__ = ["AdapterMethod", "FinetuningMethod", "Method"]
