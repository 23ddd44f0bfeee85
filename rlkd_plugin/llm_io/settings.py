"""Every option of the plugin, read from the environment in one place.

A YAML's `ENV:` block, which ms-swift puts into the environment, may hold them.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.gsrm.phases import PHASES, Phase, check_phases

PREFIX = "RLKD_"

Urls = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """The options; each is the environment variable `RLKD_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    engine: Literal["server", "small", "rules"] = Field(
        "server",
        description="who decomposes and judges: `server` is the paper's set-up, `small` a small "
        "learned stand-in in the training process, `rules` one that needs no model",
    )
    small_model: str = Field(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        description="the base model of `small`: its id, or a folder",
    )
    gsrm_base_url: Urls = Field(
        (), description="the GSRM's servers, comma-separated, with /v1: http://host:8001/v1"
    )
    gsrm_model: str = Field("", description="the name under which they serve the GSRM")
    gsrm_prompt: Literal["gsrm", "construct"] = Field(
        "gsrm",
        description="`gsrm` for a trained GSRM; `construct`, with worked examples, for any other "
        "model",
    )
    gsrm_regex: bool = Field(
        False,
        description="hold the GSRM to the structure's form by the server's regex constraint "
        "(`structured_outputs`, vLLM); for untrained models",
    )
    gsrm_max_tokens: PositiveInt = Field(
        4096, description="most tokens of a structure; the budget of a short path is smaller"
    )
    gsrm_max_chars: PositiveInt = Field(
        60_000, description="a longer reasoning path keeps its beginning and loses its end"
    )
    gsrm_api_key_env: str = Field(
        "RLKD_GSRM_API_KEY", description="the name of the variable that holds the GSRM's API key"
    )
    judge_base_url: Urls = Field((), description="the judge's servers, comma-separated, with /v1")
    judge_model: str = Field("", description="the name under which they serve the judge")
    judge_max_tokens: PositiveInt = Field(
        1, description="tokens of a verdict; a judge that thinks before it answers needs room"
    )
    judge_threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="texts match from this probability of yes against no on"
    )
    judge_api_key_env: str = Field(
        "RLKD_JUDGE_API_KEY", description="the name of the variable that holds the judge's API key"
    )
    generator_base_url: Urls = Field(
        (),
        description="the servers of the generator of `rlkd construct`, comma-separated, with /v1",
    )
    generator_model: str = Field("", description="its name there; the paper: GPT-4o")
    generator_max_tokens: PositiveInt = Field(4096, description="most tokens of a structure")
    generator_api_key_env: str = Field(
        "RLKD_GENERATOR_API_KEY", description="the name of the variable that holds its API key"
    )
    verifier_base_url: Urls = Field(
        (), description="the servers of the verifier of `rlkd construct`, comma-separated, with /v1"
    )
    verifier_model: str = Field("", description="its name there; the paper: DeepSeek-V3")
    verifier_max_tokens: PositiveInt = Field(
        1024, description="most tokens of a verification; one that thinks needs more"
    )
    verifier_api_key_env: str = Field(
        "RLKD_VERIFIER_API_KEY", description="the name of the variable that holds its API key"
    )
    student_base_url: Urls = Field(
        (), description="the servers of the model that `rlkd diversity` asks, comma-separated"
    )
    student_model: str = Field("", description="the name under which they serve it")
    student_api_key_env: str = Field(
        "RLKD_STUDENT_API_KEY", description="the name of the variable that holds their API key"
    )
    requests_per_minute: NonNegativeFloat = Field(
        0.0,
        description="most requests a minute to each role's servers (GSRM, judge, generator ...), "
        "repeated ones included; each rank takes its share; 0: no limit",
    )
    tokens_per_minute: NonNegativeFloat = Field(0.0, description="the same of tokens, in and out")
    embed_base_url: Urls = Field(
        (), description="the embedding servers of `rlkd subset`, comma-separated, with /v1"
    )
    embed_model: str = Field("", description="the name under which they serve the model")
    embed_api_key_env: str = Field(
        "RLKD_EMBED_API_KEY", description="the name of the variable that holds their API key"
    )
    concurrency: PositiveInt = Field(
        64, description="requests in flight of the whole run; each rank takes its share"
    )
    sample_domain: Literal["math", "science", "code", "puzzle"] = Field(
        "math", description="domain of the problems of `swift sample`, which hands over no columns"
    )
    local_batch: PositiveInt = Field(
        16,
        description="requests that `small` and `--reward_model_plugin rlkd_gsrm` give to a model "
        "at once; fewer need less memory",
    )
    request_timeout: PositiveFloat = Field(
        300.0, description="seconds after which one request is given up and sent again"
    )
    patience: NonNegativeFloat = Field(
        600.0, description="seconds for which a failing request is sent again before the run stops"
    )
    startup_patience: NonNegativeFloat = Field(
        30.0, description="the same before the first success: the server may still be loading"
    )
    reward_scale: Literal["steps", "teacher"] = Field(
        "steps",
        description="`steps`: the sum of Algorithm 1, in [0, n]; `teacher`: divided by the "
        "teacher's n steps, in [0, 1]",
    )
    truncated: Literal["score", "zero"] = Field(
        "score",
        description="a completion cut off at its length limit: `score` what was decomposed, or 0",
    )
    cache_dir: Path = Field(
        Path("~/.cache/rlkd_plugin"), description="where teacher structures are kept between runs"
    )
    trace_dir: Path | None = Field(
        None, description="where the trace is written; else in the run's output folder"
    )

    phases: Annotated[tuple[Phase, ...], NoDecode] = Field(
        PHASES,
        description="phases of `rlkd_structured`, one epoch each, comma-separated: of `meta`, "
        "`solve` and `mixed`",
    )
    phase_interval: PositiveInt = Field(
        100, description="the paper's alpha: steps between two updates of a and b"
    )
    mix_a: PositiveFloat | None = Field(
        None, description="a of equation 1 to start with, in place of the mean loss of `meta`"
    )
    mix_b: PositiveFloat | None = Field(
        None, description="b of equation 1 to start with, in place of the mean loss of `solve`"
    )
    max_lost_rows: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05,
        description="share of the rows that may be too long to be encoded before `rlkd_structured` "
        "refuses to train",
    )

    @field_validator("phases", mode="before")
    @classmethod
    def _split_phases(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())

    @model_validator(mode="after")
    def _phases_can_be_trained(self) -> "Settings":
        if (self.mix_a is None) != (self.mix_b is None):
            raise RlkdError("RLKD_MIX_A and RLKD_MIX_B belong together: give both or none")
        check_phases(self.phases, weights_given=self.mix_a is not None)
        return self

    @field_validator(
        *("gsrm_base_url", "judge_base_url", "embed_base_url", "student_base_url"),
        *("generator_base_url", "verifier_base_url"),
        mode="before",
    )
    @classmethod
    def _split_urls(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        urls = tuple(url.strip().rstrip("/") for url in value.split(",") if url.strip())
        for url in urls:
            parts = urlsplit(url)
            if "@" in parts.netloc or parts.query:
                raise ValueError("a URL must not hold a key; name a variable in ..._API_KEY_ENV")
            port = parts.netloc.rpartition("]")[2].partition(":")[2]
            if not (
                parts.scheme in ("http", "https")
                and parts.hostname
                and (not port or (port.isdecimal() and int(port) < 65536))
            ):
                raise ValueError("each URL must look like http://host:port/v1")
        return urls

    @field_validator(
        *("gsrm_api_key_env", "judge_api_key_env", "embed_api_key_env", "student_api_key_env"),
        *("generator_api_key_env", "verifier_api_key_env"),
    )
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
            raise ValueError("it holds the name of the variable with the key, not the key itself")
        return value

    @field_validator("cache_dir", "trace_dir")
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value else None

    @property
    def rank_concurrency(self) -> int:
        """This rank's share of `concurrency`, at least 1."""
        return max(1, self.concurrency // _ranks())

    @property
    def longest_wait(self) -> float:
        """Seconds for which one request may be tried: its first try, the patience, its last."""
        return max(self.patience, self.startup_patience) + 2 * self.request_timeout

    @property
    def rank_rates(self) -> tuple[float, float]:
        """This rank's share of the requests and of the tokens a minute."""
        return self.requests_per_minute / _ranks(), self.tokens_per_minute / _ranks()


def _ranks() -> int:
    return int(os.environ.get("WORLD_SIZE") or 1)


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        RlkdError: if a value is not allowed; the message names the variable, and the value unless
            it may hold a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = PREFIX + str(problem["loc"][0]).upper()
            secret = name.endswith(("_BASE_URL", "_API_KEY_ENV"))
            value = "" if secret else f"={problem['input']!r}"
            lines.append(f"{name}{value}: {problem['msg']}")
        raise RlkdError("wrong setting: " + "; ".join(lines)) from None


def unknown_variables() -> list[str]:
    """Return the `RLKD_` variables that are set and that nothing reads: typing errors, mostly."""
    settings = Settings.model_fields
    known = {PREFIX + name.upper() for name in settings}
    known |= {
        os.environ.get(n) or settings[n[5:].lower()].default for n in known if n.endswith("_ENV")
    }
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def settings_table() -> str:
    """Return the settings as the Markdown table of the README."""
    lines = ["| variable | default | what |", "| --- | --- | --- |"]
    for name, option in Settings.model_fields.items():
        default = option.default
        text = ",".join(default) if isinstance(default, tuple) else default
        shown = f"`{text}`" if text not in ("", None) else ""
        lines.append(f"| `{PREFIX}{name.upper()}` | {shown} | {option.description} |")
    return "\n".join(lines)
