"""Runs on a task: fine-tuning, adapters, prompts, baselines, and what is made of a fine-tuned model."""


rule run:
    """Run one link of a chain of methods: a model, a task, a chain and a seed."""
    input:
        unpack(lambda w: PLAN.run_inputs(w.model, w.task, w.chain, int(w.seed))),
    output:
        record=names.record_in(RUN),
        predictions=f"{RUN}/predictions.csv",
        artifact=names.artifact_in(RUN),
    log:
        f"{RUN_LOG}.log",
    benchmark:
        f"{RUN_LOG}.benchmark.tsv"
    wildcard_constraints:
        model=PLAN.run_models,
        chain=PLAN.run_chains,
    conda:
        "../../envs/electralab.yaml"
    threads: 1
    resources:
        gpu=lambda w: 0 if w.model == names.NO_MODEL else GPUS,
        mem_mb=4000,
        runtime=480,
    params:
        spec=lambda w: PLAN.run_spec(w.model, w.task, w.chain, int(w.seed)),
        device=lambda w, input: DEVICE,  # by way of `input`, so that another device makes nothing anew
        start=lambda w, input: named(input, "start"),
        tokenizer=lambda w, input: named(input, "tokenizer"),
        teacher=lambda w, input: named(input, "teacher"),
        corpus=lambda w, input: named(input, "corpus"),
    message:
        "{wildcards.chain}: {wildcards.model} on {wildcards.task}, seed {wildcards.seed}"
    shell:
        "python -m electralab run --spec {params.spec:q} --task {input.task} {params.start} {params.tokenizer}"
        " {params.teacher} {params.corpus} --threads {threads} --device {params.device} --out {output.record} 2> {log}"


rule finetuning:
    """Target: every run on a task."""
    input:
        PLAN.task_records,
    message:
        "Every run on a task is there"
