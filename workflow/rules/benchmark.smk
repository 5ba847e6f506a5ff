"""Benchmarks: what runs left, timed side by side."""


rule benchmark:
    """Time variants of a model in turns."""
    input:
        unpack(lambda w: PLAN.benchmark_inputs(w.benchmark)),
    output:
        names.benchmark_record("{benchmark}"),
    log:
        "logs/benchmarks/{benchmark}.log",
    benchmark:
        "logs/benchmarks/{benchmark}.benchmark.tsv"
    wildcard_constraints:
        benchmark=one_of(PLAN.experiment.benchmarks),
    conda:
        "../../envs/electralab.yaml"
    threads: CORES  # so that nothing else runs beside it here
    resources:
        gpu=GPUS,
        mem_mb=16000,
        runtime=480,
    params:
        spec=lambda w: PLAN.benchmark_spec(w.benchmark),
        device=lambda w, input: DEVICE,  # by way of `input`, so that another device makes nothing anew
    message:
        "Benchmark {wildcards.benchmark}"
    shell:
        "python -m electralab benchmark {wildcards.benchmark} --spec {params.spec:q} --artifacts {input.artifacts:q}"
        " --task {input.task} --device {params.device} --out {output} 2> {log}"


rule benchmarks:
    """Target: every benchmark."""
    input:
        PLAN.benchmark_records,
    message:
        "Every benchmark is there"
