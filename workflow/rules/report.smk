"""Run records to tables and figures."""


localrules:
    collect,
    table,
    figure,
    resolved_config,
    submission,


rule collect:
    input:
        records=PLAN.records,
        searches=PLAN.search_results,
        tasks=PLAN.finetuned_tasks,
    output:
        "results/{name}/runs.csv",
        expand("results/{{name}}/{detail}.csv", detail=DETAILS),
    log:
        "logs/report/{name}-collect.log",
    conda:
        "../../envs/electralab.yaml"
    shell:
        "python -m electralab collect {input.records:q} --searches {input.searches:q} --tasks {input.tasks:q}"
        " --results results/{wildcards.name} 2> {log}"


rule table:
    input:
        rules.collect.output,
        published=PUBLISHED,
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
    shell:
        "python -m electralab table {wildcards.table} --results results/{wildcards.name}"
        " --published {input.published:q} 2> {log}"


rule figure:
    input:
        rules.collect.output,
        published=PUBLISHED,
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
    shell:
        "python -m electralab figure {wildcards.figure} --results results/{wildcards.name}"
        " --published {input.published:q} 2> {log}"


rule submission:
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
    shell:
        "python -m electralab submission {input:q} --out {output} > {log} 2>&1"


rule resolved_config:
    output:
        "results/{name}/config.resolved.yaml",
    log:
        "logs/report/{name}-config.log",
    conda:
        "../../envs/electralab.yaml"
    params:
        experiment=PLAN.experiment.canonical(),
    shell:
        "python -m electralab resolve --experiment {params.experiment:q} --out {output} 2> {log}"


rule tables:
    input:
        PLAN.results(TABLES),


rule figures:
    input:
        PLAN.results([], FIGURES),


rule glue:
    input:
        PLAN.results(["downstream", "vs_published"], ["downstream"]),


rule submissions:
    input:
        expand(f"results/{NAME}/submissions/{{model}}.zip", model=PLAN.submitted_models),
