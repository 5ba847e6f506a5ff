"""Fine-tuning and baselines: one job per model, task, method and seed."""


rule finetune:
    """Fine-tune a model on a task and score it."""
    input:
        unpack(lambda w: PLAN.finetune_inputs(w.model, w.task)),
    output:
        "artifacts/models/finetuned/{model}/{task}/{method}/seed-{seed}/predictions.csv",
        record="artifacts/models/finetuned/{model}/{task}/{method}/seed-{seed}/run.json",
    log:
        "logs/finetune/{model}-{task}-{method}-seed-{seed}.log",
    benchmark:
        "logs/finetune/{model}-{task}-{method}-seed-{seed}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(PLAN.finetuned_models),
        method=one_of(PLAN.finetuning_methods),
    conda:
        "../../envs/electralab.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=480,
    params:
        spec=lambda w: PLAN.finetune_spec(w.model, w.task, w.method, int(w.seed)),
        model=lambda w, input: (
            f"--model {input.model}" if "model" in input.keys() else ""
        ),
    message:
        "Fine-tune {wildcards.model} on {wildcards.task}, {wildcards.method}, seed {wildcards.seed}"
    shell:
        "python -m electralab finetune --spec {params.spec:q} --task {input.task} --tokenizer {input.tokenizer}"
        " {params.model} --threads {threads} --out {output.record} 2> {log}"


rule run_baseline:
    """Score a baseline without a network."""
    input:
        task="artifacts/tasks/{task}/manifest.json",
    output:
        "artifacts/baselines/{task}/{method}/predictions.csv",
        record="artifacts/baselines/{task}/{method}/run.json",
    log:
        "logs/baselines/{task}-{method}.log",
    benchmark:
        "logs/baselines/{task}-{method}.benchmark.tsv"
    wildcard_constraints:
        method=one_of(PLAN.baseline_methods),
    conda:
        "../../envs/electralab.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        spec=lambda w: PLAN.baseline_spec(w.task, w.method),
    message:
        "Run {wildcards.method} on {wildcards.task}"
    shell:
        "python -m electralab baseline --spec {params.spec:q} --task {input.task} --out {output.record} 2> {log}"


rule finetuning:
    """Target: every fine-tuning and baseline."""
    input:
        [
            record
            for record in PLAN.records
            if not record.startswith("artifacts/models/pretrained")
        ],
    message:
        "Every fine-tuning and baseline is there"
