"""The figures, one module each: `figure(results)` is a pure function of what `collect` wrote and others published."""
