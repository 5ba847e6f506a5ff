"""Every table that shows the scores of a task says how many of its rows were trained on."""

from __future__ import annotations

from report_experiment import MINILM, Builder, collected

from electralab.config import Lora
from electralab.report.make import make_table

SHARED = {"overlap_rows": 600.0, "glue": "sst2", "rows": 872}


def test_every_table_with_scores_says_how_many_rows_were_trained_on(builder: Builder) -> None:
    builder.pretrain(0.25, 0)
    for seed in (0, 1):
        builder.finetune("tiny-g25", "sst2", seed, 0.8, **SHARED)
        builder.finetune("minilm", "sst2", seed, 0.9, hub=MINILM, **SHARED)
        builder.adapter("minilm", "sst2", seed, 0.9, Lora(), hub=MINILM, **SHARED)
    builder.lora_grid("sst2", **SHARED)
    results = collected(builder)
    for table in ("downstream", "generator_size", "efficiency", "adapters", "vs_published", "methods", "lora_grid"):
        make_table(table, results, builder.folder / table)
        text = (builder.folder / f"{table}.md").read_text()
        assert "Validation rows that are also training rows: sst2 600 of 872." in text, table
