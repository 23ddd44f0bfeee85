"""`rlkd score`: the structure reward of existing completions, without a training."""
