"""What models still know of their pretraining: a stage of its own, that makes no run anew."""

MEASURED = names.retention_folder("{retention}", "{of}")


rule retention:
    """Measure what a run, or a pretrained model, still knows of pretraining."""
    input:
        unpack(lambda w: PLAN.retention_inputs(w.retention, w.of)),
    output:
        f"{MEASURED}/documents.csv",
        record=names.record_in(MEASURED),
    log:
        "logs/retention/{retention}/{of}.log",
    benchmark:
        "logs/retention/{retention}/{of}.benchmark.tsv"
    wildcard_constraints:
        retention=one_of(PLAN.experiment.retention),
        of=PLAN.measured,
    conda:
        "../../envs/electralab.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=240,
    params:
        spec=lambda w: PLAN.retention_spec(w.retention, w.of),
        device=lambda w, input: DEVICE,  # by way of `input`, so that another device makes nothing anew
        pretrained=lambda w, input: named(input, "pretrained"),
        start=lambda w, input: named(input, "start"),
        generator=lambda w, input: named(input, "generator"),
    message:
        "Retention {wildcards.retention}: {wildcards.of}"
    shell:
        "python -m electralab retention --spec {params.spec:q} --corpus {input.corpus} {params.pretrained} {params.start}"
        " {params.generator} --threads {threads} --device {params.device} --out {output.record} 2> {log}"
