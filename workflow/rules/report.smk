"""Run records to tables and figures."""


localrules:
    collect,
    table,
    figure,
    resolved_config,
    submission,


rule collect:
    """Flatten run records, and compare their predictions."""
    input:
        records=PLAN.records,
        searches=PLAN.search_results,
        benchmarks=PLAN.benchmark_records,
        tasks=PLAN.finetuned_tasks,
        retentions=PLAN.retention_records,
    output:
        "results/{name}/runs.csv",
        expand("results/{{name}}/{detail}.csv", detail=DETAILS),
        "results/{name}/checksums.json",
    log:
        "logs/report/{name}-collect.log",
    conda:
        "../../envs/electralab.yaml"
    message:
        "Collect the runs of {wildcards.name}"
    shell:
        "python -m electralab collect {input.records:q} --searches {input.searches:q} --tasks {input.tasks:q}"
        " --retentions {input.retentions:q} --benchmarks {input.benchmarks:q}"
        " --results results/{wildcards.name} 2> {log}"


rule table:
    """Write one table."""
    input:
        rules.collect.output,
    output:
        "results/{name}/tables/{table}.csv",
        "results/{name}/tables/{table}.md",
        report(
            "results/{name}/tables/{table}.html",
            caption="../report/caption.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        "logs/report/{name}-table-{table}.log",
    wildcard_constraints:
        table=one_of(PLAN.tables),
    conda:
        "../../envs/electralab.yaml"
    params:
        caption=lambda w: TABLES[w.table].caption,
        # Compared by its checksum alone: its path, by way of `input`, differs in a copy of the repository.
        published_sha256=sha256(PUBLISHED),
        published=lambda w, input: PUBLISHED,
    message:
        "Write table {wildcards.table}"
    shell:
        "python -m electralab table {wildcards.table} --results results/{wildcards.name}"
        " --published {params.published:q} 2> {log}"


rule figure:
    """Draw one figure."""
    input:
        rules.collect.output,
    output:
        report(
            "results/{name}/figures/{figure}.svg",
            caption="../report/caption.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        "results/{name}/figures/{figure}.png",
    log:
        "logs/report/{name}-figure-{figure}.log",
    wildcard_constraints:
        figure=one_of(PLAN.figures),
    conda:
        "../../envs/electralab.yaml"
    params:
        caption=lambda w: FIGURES[w.figure].caption,
        published_sha256=sha256(PUBLISHED),
        published=lambda w, input: PUBLISHED,
    message:
        "Draw figure {wildcards.figure}"
    shell:
        "python -m electralab figure {wildcards.figure} --results results/{wildcards.name}"
        " --published {params.published:q} 2> {log}"


rule submission:
    """Pack a model's test predictions for the GLUE server."""
    input:
        lambda w: PLAN.submission_records(w.model),
    output:
        "results/{name}/submissions/{model}.zip",
    log:
        "logs/report/{name}-submission-{model}.log",
    wildcard_constraints:
        model=one_of(PLAN.submitted_models),
    conda:
        "../../envs/electralab.yaml"
    message:
        "Pack the submission of {wildcards.model}"
    shell:
        "python -m electralab submission {input:q} --out {output} > {log} 2>&1"


rule resolved_config:
    """Write the complete config beside the results."""
    output:
        "results/{name}/config.resolved.yaml",
    log:
        "logs/report/{name}-config.log",
    conda:
        "../../envs/electralab.yaml"
    params:
        experiment=PLAN.experiment.canonical(),
    message:
        "Write the complete config of {wildcards.name}"
    shell:
        "python -m electralab resolve --experiment {params.experiment:q} --out {output} 2> {log}"


rule tables:
    """Target: every table."""
    input:
        PLAN.results(TABLES),
    message:
        "Every table is there"


rule figures:
    """Target: every figure."""
    input:
        PLAN.results([], FIGURES),
    message:
        "Every figure is there"


rule glue:
    """Target: tables and figures about GLUE."""
    input:
        PLAN.results(["downstream", "vs_published"], ["downstream"]),
    message:
        "Every table and figure about GLUE is there"


rule submissions:
    """Target: a submission of every trained model with a GLUE task."""
    input:
        expand(f"results/{NAME}/submissions/{{model}}.zip", model=PLAN.submitted_models),
    message:
        "Every submission is there"
