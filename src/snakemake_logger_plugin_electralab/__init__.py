"""Where Snakemake looks for `--logger electralab`; the name of this package is prescribed."""

from electralab.console.plugin import LogHandler

__all__ = ["LogHandler"]
