"""ElectraLab: from raw text to tables and figures. `snakemake --cores 8 all`"""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from electralab.catalogue import DETAILS, FIGURES, TABLES
from electralab.config import load_experiment
from electralab.errors import UserError
from electralab.machine import gpus_per_job, put_interpreter_on_path
from electralab.plan import Plan, one_of

min_version("9.14")


configfile: Path(workflow.basedir) / "config.yaml"


try:
    PLAN = Plan(load_experiment(config))
except UserError as error:
    raise WorkflowError(str(error)) from None

NAME = PLAN.experiment.name
PUBLISHED = str(Path(workflow.basedir) / "reference/published_results.csv")
GPUS = gpus_per_job()
put_interpreter_on_path()


report: "workflow/report/workflow.rst"


wildcard_constraints:
    name=NAME,
    corpus=one_of(PLAN.experiment.corpora),
    tokenizer=one_of(PLAN.experiment.tokenizers),
    task=one_of(PLAN.experiment.tasks),
    seed="[0-9]+",


include: "workflow/rules/data.smk"
include: "workflow/rules/tokens.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/compress.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        f"results/{NAME}/config.resolved.yaml",
