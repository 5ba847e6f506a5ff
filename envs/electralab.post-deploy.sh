#!/usr/bin/env bash
# Snakemake runs this once, inside the environment it made and from the repository root: it adds the package itself.
set -euo pipefail
python -m pip install --no-deps --editable .
