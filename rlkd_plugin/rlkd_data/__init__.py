"""From other people's rows to ours: pure row functions, and the jobs that run over files."""
