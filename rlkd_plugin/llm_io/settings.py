"""Every option of the plugin, read from the environment in one place.

They may be in the `ENV:` block of a YAML, which ms-swift copies into the environment.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from rlkd_plugin.engines.reward_scale import RewardScale
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.gsrm.phases import PHASES, check_phases
from rlkd_plugin.llm_io.role_body import Body
from rlkd_plugin.llm_io.setting_types import Folder, Phases, Steps, Urls, VariableName

PREFIX = "RLKD_"


class Settings(BaseSettings):
    """The options; the environment variable is `RLKD_` and the name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    engine: Literal["server", "small", "rules"] = Field(
        default="server",
        description="who decomposes and judges: `server` is the paper's set-up, `small` a small "
        "learned stand-in in the training process, `rules` one that needs no model",
    )
    small_model: str = Field(
        default="HuggingFaceTB/SmolLM2-135M-Instruct",
        description="the base model of `small`: its id, or a folder",
    )
    gsrm_base_url: Urls = Field(
        default=(), description="the GSRM's servers, comma-separated, with /v1: http://host:8001/v1"
    )
    gsrm_model: str = Field(default="", description="the GSRM's name on its servers")
    gsrm_prompt: Literal["gsrm", "construct"] = Field(
        default="gsrm",
        description="`gsrm` for a trained GSRM; `construct`, with worked examples, for any other "
        "model",
    )
    gsrm_regex: bool = Field(
        default=False,
        description="constrain the GSRM's replies to the structure's form by a regex "
        "(`structured_outputs`, vLLM); for untrained models",
    )
    gsrm_max_tokens: PositiveInt = Field(
        default=4096,
        description="most tokens of a structure; the budget of a short path is smaller",
    )
    stream_structures: bool = Field(
        default=True,
        description="judge a student's structure while the GSRM writes it, and end the request "
        "when the rest cannot change the reward; `false` for traces with whole structures",
    )
    gsrm_max_chars: PositiveInt = Field(
        default=60_000,
        description="most characters of a reasoning path; the end of a longer one is dropped",
    )
    gsrm_api_key_env: VariableName = Field(
        default="RLKD_GSRM_API_KEY",
        description="the name of the variable that holds the GSRM's API key",
    )
    gsrm_body: Body = Field(
        default={},
        description="further keys of each request to the GSRM, as JSON: "
        '`{"chat_template_kwargs": {"enable_thinking": false}}`',
    )
    gsrm_revision: str = Field(
        default="",
        description="the GSRM's version, if its servers do not report it; each revision has its "
        "own entries in the cache of teacher structures",
    )
    judge_base_url: Urls = Field(
        default=(), description="the judge's servers, comma-separated, with /v1"
    )
    judge_model: str = Field(default="", description="the judge's name on its servers")
    judge_max_tokens: PositiveInt = Field(
        default=1,
        description="tokens of a verdict; a judge that thinks before it answers needs room",
    )
    judge_threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5, description="smallest probability of yes against no at which texts match"
    )
    judge_api_key_env: VariableName = Field(
        default="RLKD_JUDGE_API_KEY",
        description="the name of the variable that holds the judge's API key",
    )
    judge_body: Body = Field(
        default={},
        description="further keys of each request to the judge, as JSON; a judge that thinks "
        'first: `{"chat_template_kwargs": {"enable_thinking": false}}`',
    )
    judge_swap: bool = Field(
        default=False,
        description="ask the judge a second time with teacher and student swapped, and take the "
        "mean: twice the requests",
    )
    generator_base_url: Urls = Field(
        default=(),
        description="the servers of the generator of `rlkd construct`, comma-separated, with /v1",
    )
    generator_model: str = Field(default="", description="its name there; the paper: GPT-4o")
    generator_max_tokens: PositiveInt = Field(
        default=4096, description="most tokens of a structure"
    )
    generator_api_key_env: VariableName = Field(
        default="RLKD_GENERATOR_API_KEY",
        description="the name of the variable that holds its API key",
    )
    generator_body: Body = Field(
        default={}, description="further keys of each request to it, as JSON"
    )
    verifier_base_url: Urls = Field(
        default=(),
        description="the servers of the verifier of `rlkd construct`, comma-separated, with /v1",
    )
    verifier_model: str = Field(default="", description="its name there; the paper: DeepSeek-V3")
    verifier_max_tokens: PositiveInt = Field(
        default=1024, description="most tokens of a verification; one that thinks needs more"
    )
    verifier_api_key_env: VariableName = Field(
        default="RLKD_VERIFIER_API_KEY",
        description="the name of the variable that holds its API key",
    )
    verifier_body: Body = Field(
        default={}, description="further keys of each request to it, as JSON"
    )
    student_base_url: Urls = Field(
        default=(),
        description="the servers of the model that `rlkd diversity` asks, comma-separated",
    )
    student_model: str = Field(default="", description="its name on its servers")
    student_api_key_env: VariableName = Field(
        default="RLKD_STUDENT_API_KEY",
        description="the name of the variable that holds their API key",
    )
    student_body: Body = Field(
        default={}, description="further keys of each request to them, as JSON"
    )
    requests_per_minute: NonNegativeFloat = Field(
        default=0.0,
        description="most requests a minute to each role's servers (GSRM, judge, generator ...), "
        "retries included; each rank takes its share; 0: no limit",
    )
    tokens_per_minute: NonNegativeFloat = Field(
        default=0.0, description="most tokens a minute, of prompts and replies; 0: no limit"
    )
    embed_base_url: Urls = Field(
        default=(), description="the embedding servers of `rlkd subset`, comma-separated, with /v1"
    )
    embed_model: str = Field(default="", description="the model's name on its servers")
    embed_api_key_env: VariableName = Field(
        default="RLKD_EMBED_API_KEY",
        description="the name of the variable that holds their API key",
    )
    embed_body: Body = Field(
        default={}, description="further keys of each request to them, as JSON"
    )
    concurrency: PositiveInt = Field(
        default=64,
        description="requests in flight in the whole run; each rank takes its share. If structures "
        "are streamed, up to a quarter of a share, at least one of two, is kept for verdicts",
    )
    sample_domain: Literal["math", "science", "code", "puzzle"] = Field(
        default="math",
        description="domain of the problems of `swift sample`, which passes no columns",
    )
    local_batch: PositiveInt = Field(
        default=16,
        description="requests that `small` and `--reward_model_plugin rlkd_gsrm` give to a model "
        "at once; fewer need less memory",
    )
    request_timeout: PositiveFloat = Field(
        default=300.0,
        description="time-out of one request in seconds, after which it is retried; if it is not "
        "set, a response of `rlkd diversity` has more",
    )
    patience: NonNegativeFloat = Field(
        default=600.0,
        description="retry deadline: seconds from a request's first failure until the run stops",
    )
    startup_patience: NonNegativeFloat = Field(
        default=30.0,
        description="retry deadline before the first success: the server may still be loading",
    )
    reward_scale: Literal["steps", "teacher"] = Field(
        default="steps",
        description="`steps`: the sum of Algorithm 1, in [0, n]; `teacher`: divided by the "
        "teacher's n steps, in [0, 1]",
    )
    extra_steps: Literal["ignore", "divide"] = Field(
        default="ignore",
        description="a student's steps beyond the teacher's last: `ignore` as Algorithm 1 does; "
        "`divide` multiplies the reward by n / m where the student has m > n steps",
    )
    branches: PositiveInt = Field(
        default=1,
        description="number of the teacher's paths, from the column `teacher_branches`, that a "
        "completion is compared with; the best reward counts. 1 is the paper",
    )
    truncated: Literal["score", "zero"] = Field(
        default="score",
        description="a completion cut off at its length limit: `score` it, or `zero` for reward 0",
    )
    cache_dir: Folder = Field(
        default=Path("~/.cache/rlkd_plugin"),
        description="folder of the teacher structures that runs share",
    )
    trace_dir: Folder | None = Field(
        default=None, description="folder of the trace; by default the run's output folder"
    )
    snapshot_steps: Steps = Field(
        default=(),
        description="steps at which `rlkd_snapshots` keeps the weights beside the checkpoints, "
        "comma-separated; multiples of `save_steps`",
    )

    phases: Phases = Field(
        default=PHASES,
        description="phases of `rlkd_structured`, one epoch each, comma-separated: of `meta`, "
        "`solve` and `mixed`",
    )
    phase_interval: PositiveInt = Field(
        default=100, description="the paper's alpha: steps between two updates of a and b"
    )
    mix_a: PositiveFloat | None = Field(
        default=None,
        description="initial a of equation 1, instead of the mean loss of `meta`",
    )
    mix_b: PositiveFloat | None = Field(
        default=None,
        description="initial b of equation 1, instead of the mean loss of `solve`",
    )
    max_lost_rows: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05,
        description="largest share of rows that may be too long to encode; with more, "
        "`rlkd_structured` does not train",
    )

    @model_validator(mode="after")
    def _check_phases(self) -> "Settings":
        if (self.mix_a is None) != (self.mix_b is None):
            raise RlkdError("RLKD_MIX_A and RLKD_MIX_B belong together: give both or none")
        check_phases(self.phases, weights_given=self.mix_a is not None)
        return self

    @property
    def scale(self) -> RewardScale:
        """How r of Algorithm 1 becomes a reward."""
        return RewardScale(self.reward_scale, self.extra_steps)

    @property
    def rank_concurrency(self) -> int:
        """This rank's share of `concurrency`, at least 1."""
        return max(1, self.concurrency // _ranks())

    @property
    def longest_wait(self) -> float:
        """Most seconds of one request: the first try, the retry deadline, the last try."""
        return max(self.patience, self.startup_patience) + 2 * self.request_timeout

    @property
    def rank_rates(self) -> tuple[float, float]:
        """This rank's share of the requests and tokens a minute."""
        return self.requests_per_minute / _ranks(), self.tokens_per_minute / _ranks()


def _ranks() -> int:
    return int(os.environ.get("WORLD_SIZE") or 1)


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        RlkdError: if a value is not allowed; the message has the variable, and its value unless
            that may be a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = PREFIX + str(problem["loc"][0]).upper()
            secret = name.endswith(("_BASE_URL", "_API_KEY_ENV", "_BODY"))
            value = "" if secret else f"={problem['input']!r}"
            lines.append(f"{name}{value}: {problem['msg']}")
        raise RlkdError("wrong setting: " + "; ".join(lines)) from None


def unknown_variables(named: Iterable[str] = ()) -> list[str]:
    """Return the `RLKD_` variables in the environment that nothing reads: mostly misspelt.

    Args:
        named: variables named on a command line.
    """
    settings = {PREFIX + name.upper(): option for name, option in Settings.model_fields.items()}
    keys = {
        os.environ.get(name) or option.default
        for name, option in settings.items()
        if name.endswith("_ENV")
    }
    known = {*keys, *named}
    return sorted(
        name
        for name in os.environ
        if name.upper().startswith(PREFIX) and name.upper() not in settings and name not in known
    )


def unknown_variable_warnings(named: Iterable[str] = ()) -> list[str]:
    """Return a warning about each of the `unknown_variables`."""
    return [
        f"{name} is set, but no setting has this name; check it"
        for name in unknown_variables(named)
    ]


def settings_table() -> str:
    """Return the settings as the Markdown table of docs/settings.md."""
    lines = ["| variable | default | what |", "| --- | --- | --- |"]
    for name, option in Settings.model_fields.items():
        default = option.default
        text = ",".join(default) if isinstance(default, tuple) else default
        shown = f"`{text}`" if text not in ("", None, {}) else ""
        lines.append(f"| `{PREFIX}{name.upper()}` | {shown} | {option.description} |")
    return "\n".join(lines)
