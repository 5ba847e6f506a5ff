"""What every part of the config is made of."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


class Strict(BaseModel):
    """Unknown keys are errors, values are immutable, and YAML numbers are not coerced from strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)

    def canonical(self) -> str:
        """The object as one JSON string with sorted keys: what a Snakemake rule passes to its job."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
