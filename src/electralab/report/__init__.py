"""Run records to tables and figures: pandas and matplotlib on small CSV files, never torch."""
