"""The tables, one module each: `table(results)` is a pure function of what `collect` wrote and of published results."""
