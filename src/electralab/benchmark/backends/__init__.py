"""What runs a model, a module each: `open_model(manifest, threads, device)` gives a `Model`, or says why not here.

Light: a module is imported by the process that needs it, so that one that answers without PyTorch stays without it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from electralab.benchmark.models import Model

if TYPE_CHECKING:
    from electralab.config import BackendName

# Modules of the backends that are not called like theirs.
MODULES: dict[str, str] = dict.fromkeys(("sdpa_math", "sdpa_flash", "sdpa_efficient"), "sdpa")


def open_backend(name: BackendName, manifest: Path, threads: int, device: str) -> Model:
    """Open an artifact by a backend.

    Raises:
        Unsuitable: it cannot run here, or not this artifact.
        UserError: the artifact is missing or damaged.
    """
    module = import_module(f"electralab.benchmark.backends.{MODULES.get(name, name)}")
    opened: Model = module.open_model(manifest, threads, device, name)
    return opened
