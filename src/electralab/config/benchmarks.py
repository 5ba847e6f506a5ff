"""What is timed beside what, and how long."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from electralab.config.base import Distinct, Name, Positive, Seed, Strict

Count = Annotated[int, Field(ge=1)]
BackendName = Literal[
    "own",
    "eager",
    "sdpa",
    "sdpa_math",
    "sdpa_flash",
    "sdpa_efficient",
    "flash_attention_2",
    "compiled",
    "cuda_graph",
    "onnxruntime",
    "openvino",
]
Arrangement = Literal["padded", "in_order", "sorted", "alone"]
# Which of them compute a Hugging Face artifact in fp32 with PyTorch: the fastest of them is what others are held to.
TORCH_BACKENDS: tuple[BackendName, ...] = ("own", "eager", "sdpa", "compiled")


class Variant(Strict):
    """A run of the benchmark's model, by one backend or several."""

    chain: list[Name] = Field(min_length=1, description="Chain of methods; its run is made if it is not there.")
    backends: Distinct[BackendName] = Field(
        min_length=1,
        description="`own`: our encoder; `eager`, `sdpa`: `transformers` with attention written out, or fused as "
        "PyTorch chooses; `sdpa_math`, `sdpa_flash`, `sdpa_efficient`: one kernel, seen to run; `compiled`, "
        "`cuda_graph`: our encoder under torch.compile, or as a CUDA graph; `flash_attention_2`; `onnxruntime`, "
        "`openvino`: graphs, and what exports to one. One that cannot run here is a row with its reason.",
    )


class Latency(Strict):
    """Batches of rows of one length, without padding."""

    kind: Literal["latency"] = "latency"
    batch_sizes: Distinct[Count] = Field([1, 8, 32], min_length=1, description="Rows at once; 1 is a single stream.")
    lengths: Distinct[Annotated[int, Field(ge=2)]] = Field([32, 128], min_length=1, description="Tokens of a row.")


class TaskLengths(Strict):
    """The rows of the task as they are, so that padding costs what it costs there."""

    kind: Literal["task_lengths"] = "task_lengths"
    rows: Count = Field(128, description="Validation rows.")
    batch_size: Count = Field(32, description="Rows at once.")
    arrangements: Distinct[Arrangement] = Field(
        ["padded", "in_order", "sorted", "alone"],
        min_length=1,
        description="`padded`: to `longest`; `in_order`: to the longest of the batch; `sorted`: the same, rows of like "
        "length together; `alone`: a row at a time, nothing padded.",
    )
    longest: Annotated[int, Field(ge=2)] = Field(128, description="Tokens that `padded` pads to.")


class ColdStart(Strict):
    """From the start of a process to its first answer."""

    kind: Literal["cold_start"] = "cold_start"
    starts: Count = Field(9, description="Processes of every variant.")


Scenario = Annotated[Latency | TaskLengths | ColdStart, Field(discriminator="kind")]


class Benchmark(Strict):
    """Variants of one model on one task that take turns, so that they can be compared.

    A round gives every variant a turn, in an order drawn anew; a ratio is that of the same round.
    """

    model: str = Field(description="A name of `models`, or one size of a pretraining (`tiny-g25`).")
    task: Name = Field(description="Task of the runs, whose rows are read and whose answers are checked.")
    seed: Seed = Field(0, description="Of the runs that are timed.")
    variants: list[Variant] = Field(
        min_length=1,
        description="What takes turns. The others are held to the first one, on the fastest of its backends.",
    )
    scenarios: list[Scenario] = Field([Latency()], min_length=1, description="What is asked.")
    threads: Distinct[Count] = Field([1], min_length=1, description="CPU threads of a variant.")
    rounds: Annotated[int, Field(ge=3)] = Field(21, description="Rounds at least.")
    most_rounds: Count = Field(61, description="Rounds at most, where intervals stay wide.")
    narrow: Positive = Field(
        0.02, description="Stop when the half-width of every ratio's interval is this share of it."
    )
    minutes: Positive = Field(5.0, description="Stop a workload after this time, once it has its `rounds`.")

    @model_validator(mode="after")
    def _fits(self) -> Benchmark:
        if self.most_rounds < self.rounds:
            raise ValueError(f"most_rounds {self.most_rounds} is less than rounds {self.rounds}: raise it")
        asked = [(tuple(variant.chain), backend) for variant in self.variants for backend in variant.backends]
        if len(set(asked)) < len(asked):
            raise ValueError("a chain and a backend are there twice: leave one out")
        return self

    @property
    def chains(self) -> list[tuple[str, ...]]:
        """The chains that are timed, each once."""
        return list(dict.fromkeys(tuple(variant.chain) for variant in self.variants))


BACKENDS: tuple[BackendName, ...] = get_args(BackendName)
