"""Makes training rows from data sets: pure row functions, and the jobs that run over files."""
