"""The CSVs beside `runs.csv`: one module a file, with its `COLUMNS` and `rows(sources)`."""
