"""Sources to corpora, tasks and models."""


rule build_corpus:
    """Download a corpus and split off its held-out part."""
    output:
        "artifacts/corpora/{corpus}/manifest.json",
    log:
        "logs/corpora/{corpus}.log",
    benchmark:
        "logs/corpora/{corpus}.benchmark.tsv"
    conda:
        "../../envs/electralab.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=720,
    params:
        spec=lambda w: PLAN.corpus_spec(w.corpus),
    message:
        "Build corpus {wildcards.corpus}"
    shell:
        "python -m electralab corpus {wildcards.corpus} --spec {params.spec:q} --out {output} 2> {log}"


rule build_task:
    """Turn a labelled task into one layout, with checked splits."""
    input:
        unpack(lambda w: PLAN.task_inputs(w.task)),
    output:
        "artifacts/tasks/{task}/manifest.json",
    log:
        "logs/tasks/{task}.log",
    benchmark:
        "logs/tasks/{task}.benchmark.tsv"
    conda:
        "../../envs/electralab.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        spec=lambda w: PLAN.task_spec(w.task),
    message:
        "Build task {wildcards.task}"
    shell:
        "python -m electralab task {wildcards.task} --spec {params.spec:q} --inputs {input:q} --out {output} 2> {log}"


rule fetch_model:
    """Fetch a pretrained model."""
    output:
        "artifacts/models/downloaded/{model}/tokenizer.json",
        manifest="artifacts/models/downloaded/{model}/manifest.json",
    log:
        "logs/models/{model}.log",
    benchmark:
        "logs/models/{model}.benchmark.tsv"
    wildcard_constraints:
        model=one_of(PLAN.downloaded_models),
    conda:
        "../../envs/electralab.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        spec=lambda w: PLAN.model_spec(w.model),
    message:
        "Fetch model {wildcards.model}"
    shell:
        "python -m electralab model {wildcards.model} --spec {params.spec:q} --out {output.manifest} 2> {log}"
