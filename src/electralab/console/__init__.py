"""What a user sees while Snakemake runs, before, and after. The only part of the package that knows Snakemake."""
