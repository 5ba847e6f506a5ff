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
        decoders=PLAN.decoder_records,
        tasks=PLAN.decoder_tasks,
    output:
        runs="results/{name}/runs.csv",
        curves="results/{name}/curves.csv",
        comparisons="results/{name}/comparisons.csv",
        searches="results/{name}/searches.csv",
        confusions="results/{name}/confusions.csv",
    log:
        "logs/report/{name}-collect.log",
    conda:
        "../../envs/electralab.yaml"
    message:
        "Collect the runs of {wildcards.name}"
    shell:
        "python -m electralab collect {input.records:q} --trials {input.searches:q} --preset {wildcards.name}"
        " --runs {output.runs} --curves {output.curves} --comparisons {output.comparisons}"
        " --searches {output.searches} --decoders {input.decoders:q} --tasks {input.tasks:q}"
        " --confusions {output.confusions} 2> {log}"


rule table:
    """Write one table."""
    input:
        runs="results/{name}/runs.csv",
        comparisons="results/{name}/comparisons.csv",
        searches="results/{name}/searches.csv",
        published=PUBLISHED,
    output:
        csv=report(
            "results/{name}/tables/{table}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        markdown="results/{name}/tables/{table}.md",
    log:
        "logs/report/{name}-table-{table}.log",
    wildcard_constraints:
        table="|".join(PLAN.tables),
    conda:
        "../../envs/electralab.yaml"
    message:
        "Write table {wildcards.table}"
    shell:
        "python -m electralab table {wildcards.table} --runs {input.runs} --comparisons {input.comparisons}"
        " --searches {input.searches} --published {input.published:q} --csv {output.csv} --markdown {output.markdown} 2> {log}"


rule figure:
    """Draw one figure."""
    input:
        runs="results/{name}/runs.csv",
        curves="results/{name}/curves.csv",
        searches="results/{name}/searches.csv",
        confusions="results/{name}/confusions.csv",
        published=PUBLISHED,
    output:
        svg=report(
            "results/{name}/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        png="results/{name}/figures/{figure}.png",
    log:
        "logs/report/{name}-figure-{figure}.log",
    wildcard_constraints:
        figure="|".join(PLAN.figures),
    conda:
        "../../envs/electralab.yaml"
    message:
        "Draw figure {wildcards.figure}"
    shell:
        "python -m electralab figure {wildcards.figure} --runs {input.runs} --curves {input.curves}"
        " --searches {input.searches} --confusions {input.confusions} --published {input.published:q}"
        " --svg {output.svg} --png {output.png} 2> {log}"


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
        expand(f"results/{NAME}/tables/{{table}}.csv", table=PLAN.tables),
    message:
        "Every table is there"


rule figures:
    """Target: every figure."""
    input:
        expand(f"results/{NAME}/figures/{{figure}}.svg", figure=PLAN.figures),
    message:
        "Every figure is there"


rule glue:
    """Target: tables and figures about GLUE."""
    input:
        expand(f"results/{NAME}/{{file}}", file=PLAN.glue_results),
    message:
        "Every table and figure about GLUE is there"


rule submissions:
    """Target: a submission of every trained model with a GLUE task."""
    input:
        expand(f"results/{NAME}/submissions/{{model}}.zip", model=PLAN.submitted_models),
    message:
        "Every submission is there"
