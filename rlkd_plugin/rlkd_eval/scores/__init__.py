"""`rlkd score`: the structure reward of completions that are there already, without a training."""
