"""`retention.csv`: what models still know of pretraining, a row a measurement, skipped ones with the reason.

`value` is the AUC (`rtd_auc`) or the loss of a masked token in nat (`masked_loss`), with its 95 % interval over
held-out documents. A row without a method is of the pretrained model.
"""

from __future__ import annotations

import pandas as pd

from electralab.report.sources import Sources

RUN = ("retention", "model", "task", "method", "seed", "status", "reason")
MEASURED = ("pseudo_perplexity", "published_perplexity", "rtd_base_rate", "documents", "windows", "tokens")
COLUMNS = (*RUN, "measure", "value", "low", "high", *MEASURED)


def rows(sources: Sources) -> pd.DataFrame:
    """The measurements in the order of the records."""
    found = []
    for record in sources.retentions.values():
        measure, metrics = record.primary_metric or "", record.metrics
        run = (record.recipe, record.model, record.task, record.method, record.seed, record.status, record.reason)
        values = (metrics.get(name) for name in (measure, f"{measure}_low", f"{measure}_high", *MEASURED))
        found.append((*run, measure, *values))
    return pd.DataFrame(found, columns=list(COLUMNS))
