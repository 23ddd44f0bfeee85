"""The settings: what is read from the environment, and what is said about wrong values."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.settings import Settings, load_settings, unknown_variables
from tests.conftest import SetOptions


def test_an_empty_environment_gives_the_defaults() -> None:
    """The paper's set-up: servers, the trained GSRM's prompt, the raw sum of Algorithm 1."""
    settings = load_settings()
    assert (settings.engine, settings.gsrm_prompt) == ("server", "gsrm")
    assert (settings.reward_scale, settings.truncated) == ("steps", "score")
    assert (settings.patience, settings.startup_patience) == (600, 30)
    assert (settings.gsrm_base_url, settings.gsrm_model) == ((), "")
    assert settings.cache_dir == Path.home() / ".cache" / "rlkd_plugin"
    assert settings.trace_dir is None


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_an_empty_value_is_the_default(options: SetOptions, name: str) -> None:
    """`RLKD_X=` in a script is like no RLKD_X."""
    default = getattr(load_settings(), name)
    options(**{name: ""})
    assert getattr(load_settings(), name) == default


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_option_has_a_sentence(name: str) -> None:
    """The tables of options are made from it."""
    assert len(Settings.model_fields[name].description or "") > 20


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("http://one:8001/v1", ("http://one:8001/v1",)),
        ("http://one/v1,http://two/v1", ("http://one/v1", "http://two/v1")),
        (" http://one/v1/ , https://two/v1 ,", ("http://one/v1", "https://two/v1")),
        ("http://[::1]:8000/v1", ("http://[::1]:8000/v1",)),
        (" , ", ()),
        ("http://one/v1 http://two/v1", ("http://one/v1", "http://two/v1")),
        ("http://one/v1;http://two/v1/", ("http://one/v1", "http://two/v1")),
        ("http://one/v1\nhttp://two/v1\n", ("http://one/v1", "http://two/v1")),
        ("http://one/v1 ;\thttp://two/v1,,", ("http://one/v1", "http://two/v1")),
    ],
)
def test_urls_are_a_list(options: SetOptions, text: str, urls: tuple[str, ...]) -> None:
    """Commas, semicolons and white space part them; a final slash does no harm."""
    options(gsrm_base_url=text, judge_base_url=text)
    settings = load_settings()
    assert settings.gsrm_base_url == settings.judge_base_url == urls


@pytest.mark.parametrize(
    "url",
    [
        *("one:8001/v1", "one", "ftp://one/v1", "http:///v1", "http://[::1/v1", "[]"),
        *("http://one:port/v1", "http://one:99999/v1", "http://one:-1/v1", "http://one/v1,two"),
        *("http://one/v1 two", "http://one /v1", "http://one/v1|http://two/v1"),
    ],
)
def test_a_url_that_is_none_is_refused(options: SetOptions, url: str) -> None:
    """The error names the variable."""
    options(judge_base_url=url)
    with pytest.raises(RlkdError, match="RLKD_JUDGE_BASE_URL"):
        load_settings()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cret@host/v1",
        "http://s3cret@host/v1",
        "http://:s3cret@host/v1",
        "http://ok/v1,https://user:s3cret@host/v1",
        "https://host/v1?api-key=s3cret",
        "https://host/v1#s3cret",
        "https://host/v1#",
        "http://ok/v1 https://host/v1#s3cret",
        "http://ok/v1;http://user:s3cret@host/v1",
        "http://user:s3cret@host:port/v1",
        "ftp://user:s3cret@host/v1",
    ],
)
def test_a_url_with_a_key_is_refused_and_not_repeated(options: SetOptions, url: str) -> None:
    """URLs stand in logs and errors, so no secret may stand in a URL, and not in this error."""
    options(gsrm_base_url=url)
    with pytest.raises(RlkdError, match=r"RLKD_GSRM_BASE_URL.*API_KEY_ENV") as caught:
        load_settings()
    assert "s3cret" not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_key_in_place_of_its_variables_name_is_refused_and_not_repeated(
    options: SetOptions,
) -> None:
    """The likeliest mistake with these options does not bring the key into a log."""
    options(judge_api_key_env="sk-s3cret")
    with pytest.raises(RlkdError, match=r"RLKD_JUDGE_API_KEY_ENV.*name of the variable") as caught:
        load_settings()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("engine", "vllm"),
        ("gsrm_prompt", "other"),
        ("gsrm_regex", "perhaps"),
        ("gsrm_max_tokens", "0"),
        ("gsrm_max_chars", "-1"),
        ("judge_max_tokens", "many"),
        ("judge_threshold", "0"),
        ("judge_threshold", "1"),
        ("judge_threshold", "nan"),
        ("concurrency", "0"),
        ("concurrency", "2.5"),
        ("request_timeout", "0"),
        ("patience", "-1"),
        ("startup_patience", "long"),
        ("reward_scale", "paper"),
        ("truncated", "none"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(
    options: SetOptions, name: str, value: str
) -> None:
    """The error says what to correct."""
    options(**{name: value})
    with pytest.raises(RlkdError) as caught:
        load_settings()
    assert f"RLKD_{name.upper()}={value!r}" in str(caught.value)


ROLES = ["gsrm", "judge", "generator", "verifier", "student", "embed"]


@pytest.mark.parametrize("role", ROLES)
def test_a_body_is_a_json_object(options: SetOptions, role: str) -> None:
    body = {"chat_template_kwargs": {"enable_thinking": False}, "top_p": 0.9, "user": None}
    assert getattr(load_settings(), f"{role}_body") == {}
    options(**{f"{role}_body": json.dumps(body)})
    assert getattr(load_settings(), f"{role}_body") == body


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s3cret", "not JSON"),
        ("{", "not JSON"),
        ("{'a': 's3cret'}", "not JSON"),
        ('{"api_key": "s3cret"', "not JSON"),
        ('{"a": 1} {"s3cret": 2}', "not JSON"),
        ('["s3cret"]', "not an object"),
        ('"s3cret"', "not an object"),
        ("5", "not an object"),
        ("null", "not an object"),
        ("true", "not an object"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": 1, "a": "s3cret"}', "a key occurs twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_object_is_named_and_not_repeated(
    options: SetOptions, role: str, text: str, words: str
) -> None:
    """It may hold a key of an account."""
    options(**{f"{role}_body": text})
    with pytest.raises(RlkdError, match=f"RLKD_{role.upper()}_BODY: .*{words}") as caught:
        load_settings()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("messages", "the plugin sets it"),
        ("model", "RLKD_JUDGE_MODEL"),
        ("stream", "the plugin sets it"),
        ("n", "one reply"),
        ("max_tokens", "RLKD_JUDGE_MAX_TOKENS"),
        ("max_completion_tokens", "RLKD_JUDGE_MAX_TOKENS"),
        ("logprobs", "the plugin sets it"),
        ("top_logprobs", "the plugin sets it"),
        ("stop", "the plugin sets it"),
        ("structured_outputs", "read as text"),
        ("extra_body", "directly"),
    ],
)
def test_a_key_of_ours_is_refused_with_what_to_do(
    options: SetOptions, key: str, remedy: str
) -> None:
    options(judge_body=json.dumps({"top_p": 0.5, key: "s3cret"}))
    with pytest.raises(RlkdError, match=f"RLKD_JUDGE_BODY: .*'{key}'.*{remedy}") as caught:
        load_settings()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("key", ["temperature", "seed", "max_tokens"])
def test_what_diversity_writes_beside_its_figures_is_no_further_key(
    options: SetOptions, key: str
) -> None:
    """The command's own options say it."""
    options(student_body=json.dumps({key: 1}))
    with pytest.raises(RlkdError, match=f"RLKD_STUDENT_BODY: .*'{key}'"):
        load_settings()
    options(student_body="{}", judge_body='{"temperature": 0.6, "seed": 1}')
    assert load_settings().judge_body == {"temperature": 0.6, "seed": 1}


def test_a_body_of_a_program_is_checked_too() -> None:
    assert Settings(judge_body={"top_p": 1}).judge_body == {"top_p": 1}
    with pytest.raises(ValidationError, match="'model'"):
        Settings(judge_body={"model": "x"})


def test_every_wrong_value_is_named_at_once(options: SetOptions) -> None:
    """Two mistakes take one run to find, not two."""
    options(engine="vllm", concurrency="none")
    with pytest.raises(RlkdError, match=r"RLKD_ENGINE.*RLKD_CONCURRENCY"):
        load_settings()


@pytest.mark.parametrize(("name", "value"), [("patience", 0), ("startup_patience", 0.25)])
def test_a_patience_of_zero_is_a_value(options: SetOptions, name: str, value: float) -> None:
    """It is not taken for an option that is not set."""
    options(**{name: value})
    assert getattr(load_settings(), name) == value


def test_settings_do_not_change() -> None:
    """They are read once."""
    settings: Any = load_settings()
    with pytest.raises(ValidationError):
        settings.engine = "rules"


def test_a_folder_may_begin_at_home(options: SetOptions) -> None:
    """A YAML's ENV block knows no shell."""
    options(cache_dir="~/cache", trace_dir="~/traces")
    settings = load_settings()
    assert settings.cache_dir == Path.home() / "cache"
    assert settings.trace_dir == Path.home() / "traces"


@pytest.mark.parametrize(
    ("world", "share"), [(None, 64), ("", 64), ("1", 64), ("8", 8), ("48", 1), ("1000", 1)]
)
def test_each_rank_takes_its_share_of_the_concurrency(
    monkeypatch: pytest.MonkeyPatch, world: str | None, share: int
) -> None:
    """The bound is the whole run's; a rank has at least one request in flight."""
    if world is not None:
        monkeypatch.setenv("WORLD_SIZE", world)
    assert load_settings().rank_concurrency == share


def test_a_misspelt_variable_is_found(options: SetOptions) -> None:
    """It would be without effect, silently."""
    options(judge_modle="x", patience=1, enginee="rules")
    assert unknown_variables() == ["RLKD_ENGINEE", "RLKD_JUDGE_MODLE"]


@pytest.mark.parametrize("named", [None, ""])
def test_the_default_key_variables_are_known(options: SetOptions, named: str | None) -> None:
    """Also where the option that names them is empty."""
    options(gsrm_api_key="x", judge_api_key="y")
    if named is not None:
        options(gsrm_api_key_env=named, judge_api_key_env=named)
    assert unknown_variables() == []


def test_a_key_variable_that_nobody_names_any_more_is_found(options: SetOptions) -> None:
    """The key is then read from elsewhere."""
    options(gsrm_api_key="x", gsrm_api_key_env="RLKD_MY_KEY", my_key="y")
    assert unknown_variables() == ["RLKD_GSRM_API_KEY"]
