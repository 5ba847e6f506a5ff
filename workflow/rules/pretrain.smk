"""ELECTRA pretraining: one job per generator size and seed."""


rule pretrain:
    """Pretrain a generator and a discriminator."""
    input:
        unpack(lambda w: PLAN.pretrain_inputs(w.model, int(w.seed))),
    output:
        f"{PRETRAINING}/evaluation.csv",
        record=names.record_in(PRETRAINING),
    log:
        "logs/pretrain/{model}-seed-{seed}.log",
    benchmark:
        "logs/pretrain/{model}-seed-{seed}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(PLAN.pretrained_models),
    priority: 1  # the longest jobs, for which most others wait
    conda:
        "../../envs/electralab.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=2880,
    params:
        spec=lambda w: PLAN.pretrain_spec(w.model, int(w.seed)),
        # Taken from `input`, so Snakemake compares none of these: what decides no weight trains nothing anew.
        watching=lambda w, input: PLAN.pretrain_watching(w.model),
        device=lambda w, input: DEVICE,
        start=lambda w, input: named(input, "start"),
        start_generator=lambda w, input: named(input, "start_generator"),
    message:
        "Pretrain {wildcards.model}, seed {wildcards.seed}"
    shell:
        "python -m electralab pretrain --spec {params.spec:q} --watching {params.watching:q} --tokens {input.tokens}"
        " --tokenizer {input.tokenizer} {params.start} {params.start_generator} --threads {threads} --device {params.device}"
        " --out {output.record} 2> {log}"


rule pretraining:
    """Target: every pretraining."""
    input:
        PLAN.pretraining_records,
    message:
        "Every pretraining is there"
