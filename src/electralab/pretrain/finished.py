"""Results of a finished pretraining that outlive their deletion.

Where Snakemake is killed alone, the pretraining goes on to its end without it. The next Snakemake believes it
unfinished and deletes its declared outputs, the record and the curve: without these copies it would begin anew.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from electralab.errors import UserError
from electralab.files import atomic_write, check_files, staged_folder
from electralab.names import snapshot_in
from electralab.records import RunRecord, read_record, source_hash
from electralab.specs import PretrainSpec

FOLDER = "finished"
CURVE = "evaluation.csv"


def keep_results(record_path: Path) -> None:
    """Copy the record and the curve of a finished run into a folder that Snakemake does not know."""
    with staged_folder(record_path.parent / FOLDER) as staging:
        shutil.copy(record_path.with_name(CURVE), staging / CURVE)
        shutil.copy(record_path, staging / record_path.name)


def restore_results(record_path: Path, spec: PretrainSpec, data: dict[str, str]) -> RunRecord | None:
    """Put the results of a finished run back, if it is the wanted one.

    Args:
        record_path: where the record goes.
        spec: the run.
        data: checksums of what it reads.

    Returns:
        Its record; None if there is none, or of other settings, data or source, or if its networks are not there.
    """
    folder = record_path.parent
    kept = folder / FOLDER / record_path.name
    try:
        record = read_record(kept)
        check_files(kept.parent, {CURVE: record.files[CURVE]}, kept, "")
        check_files(folder, {name: checksum for name, checksum in record.files.items() if name != CURVE}, kept, "")
    except (UserError, KeyError):
        return None
    snapshots = [f"{snapshot_in(share)}/" for share in spec.settings.snapshots]
    there = all(any(name.startswith(wanted) for name in record.files) for wanted in snapshots)
    same = PretrainSpec.model_validate(record.spec).decides_weights == spec.decides_weights
    if not (there and same and record.provenance.data == data and record.provenance.source_hash == source_hash()):
        return None
    for name in (CURVE, record_path.name):
        with atomic_write(folder / name) as temporary:
            shutil.copy(kept.parent / name, temporary)
    print(f"{record.model} seed {record.seed}: was finished; its results are put back", file=sys.stderr)
    return record
