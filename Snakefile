"""ElectraLab: from raw text to tables and figures. `snakemake --cores 8 all`"""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from electralab import names
from electralab.catalogue import DETAILS, FIGURES, TABLES
from electralab.config import load_to_run
from electralab.console import hooks, mistakes
from electralab.console.owner import own_working_directory
from electralab.errors import UserError
from electralab.files import sha256
from electralab.machine import available_cores, gpus_per_job, put_interpreter_on_path
from electralab.plan import Plan, named, one_of

min_version("9.14")


configfile: Path(workflow.basedir) / "config.yaml"


try:
    PLAN = Plan(load_to_run(config, Path(workflow.basedir) / "config.yaml"))
except UserError as error:
    raise WorkflowError(f"electralab: {error}") from None

NAME = PLAN.experiment.name
PUBLISHED = Path(workflow.basedir) / "reference/published_results.csv"
DEVICE = PLAN.experiment.device
GPUS = gpus_per_job(DEVICE)
CORES = available_cores()
RUN = names.run_folder("{model}", "{task}", "{chain}", "{seed}")
RUN_LOG = names.run_log("{model}", "{task}", "{chain}", "{seed}")
PRETRAINING = names.pretraining_folder("{model}", "{seed}")
put_interpreter_on_path()
own_working_directory()


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
include: "workflow/rules/run.smk"
include: "workflow/rules/retention.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/benchmark.smk"
include: "workflow/rules/report.smk"


mistakes.know(PLAN, [rule.name for rule in workflow.rules if not rule.has_wildcards()])


onstart:
    hooks.start(PLAN, workflow)


onsuccess:
    hooks.success(PLAN, workflow)


onerror:
    hooks.error(PLAN, workflow)


rule all:
    """The whole experiment: every table and figure."""
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        f"results/{NAME}/config.resolved.yaml",
    message:
        "Every table and figure is there"
