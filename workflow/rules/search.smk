"""Searches over the options of a method."""


rule search:
    """Search the options of a method."""
    input:
        unpack(lambda w: PLAN.search_inputs(w.search)),
    output:
        "artifacts/searches/{search}/search.json",
    log:
        "logs/searches/{search}.log",
    benchmark:
        "logs/searches/{search}.benchmark.tsv"
    wildcard_constraints:
        search=one_of(PLAN.experiment.searches),
    conda:
        "../../envs/electralab.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=1440,
    params:
        spec=lambda w: PLAN.search_spec(w.search),
        device=lambda w, input: DEVICE,  # by way of `input`, so that another device makes nothing anew
        start=lambda w, input: named(input, "start"),
        tokenizer=lambda w, input: named(input, "tokenizer"),
        teacher=lambda w, input: named(input, "teacher"),
        corpus=lambda w, input: named(input, "corpus"),
    message:
        "Search {wildcards.search}"
    shell:
        "python -m electralab search --spec {params.spec:q} --task {input.task} {params.start} {params.tokenizer}"
        " {params.teacher} {params.corpus}"
        " --threads {threads} --device {params.device} --out {output} 2> {log}"
