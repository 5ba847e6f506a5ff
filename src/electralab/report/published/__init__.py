"""Published results (`reference/`), which of them stand beside ours, and whether they may be compared."""

from electralab.report.published.reference import (
    SMALL,
    SMALL_RELEASED,
    full_finetunings,
    published_sizes,
    qlora_collapse,
    read_published,
)

__all__ = ["SMALL", "SMALL_RELEASED", "full_finetunings", "published_sizes", "qlora_collapse", "read_published"]
