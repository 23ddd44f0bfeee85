"""A URL that may hold a key is refused at every door, with one sentence that does not repeat it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.llm_io.server_urls import check_url
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.rlkd_cli import app
from tests.conftest import SetOptions

ROLES = ("gsrm", "judge", "generator", "verifier", "student", "embed")
SENTENCE = "must not hold a key: no user before an @, and nothing after a ? or a #; name the key's"
SECRET = [
    *("http://h/v1?", "http://h/v1#", "http://h/v1?#", "http://h?s3cret", "http://h#s3cret"),
    *("http://h/v1?api_key=s3cret", "http://h/v1#s3cret", "http://h/v1/?", "https://h/v1?a=b#c"),
    *("http://@h/v1", "http://:s3cret@h/v1", "http://u:s3cret@h", "http://u:@h", "http://s3cret@h"),
    *("u:s3cret@h/v1", "//u:s3cret@h/v1", "s3cret@h", "http:u:s3cret@h", "http:/u:s3cret@h"),
    *("HTTP://u:s3cret@h/v1", "HTTPS://h/v1?s3cret", "ftp://u:s3cret@h", "http://u:s3cret@h:port"),
    *(r"http:\\u:s3cret@h", r"http://h\@s3cret", r"http://h\s3cret", r"http://h/v1\?s3cret"),
    *("http://u%3As3cret%40h/v1", "http://h/v1%3Fkey=s3cret", "http://h/v1%23s3cret"),
    *("http://h/v1%253Fs3cret", "http://h/v1%25252523s3cret", "http://h/v1%3fs3cret"),
    *("http://u\uff20h/s3cret", "http://h/v1\uff1fs3cret", "http://h/v1%3Bs3cret", "http://a@b@h"),
]
NO_URL = [
    *(
        "h:8000/v1",
        "h",
        "s3cret",
        "http://",
        "http:///v1",
        "http://h:99999",
        "http://h:p",
        "ftp://h/v1",
    ),
    *("http://h\x00/v1", "http://h/v1|http://g/v1", "http://h/http://g/v1", "http://h&k=s3cret/v1"),
    *("http://[::1/v1", "http://u:s3cret/v1", "javascript:s3cret", "http//h/v1", "htp://h/v1"),
]


@pytest.mark.parametrize("url", SECRET)
def test_the_settings_and_eval_refuse_a_url_that_may_hold_a_key(
    url: str, options: SetOptions, tmp_path: Path
) -> None:
    for role in ROLES:
        options(**{f"{role}_base_url": f"http://ok/v1,{url}"})
        with pytest.raises(RlkdError) as error:
            load_settings()
        assert f"RLKD_{role.upper()}_BASE_URL: " in str(error.value)
        assert f"{SENTENCE} variable in RLKD_{role.upper()}_API_KEY_ENV" in str(error.value)
        assert "s3cret" not in str(error.value)
        options(**{f"{role}_base_url": ""})
    out = tmp_path / "out"
    for more in ([], ["--rescore"], ["--model", "m"]):
        done = CliRunner().invoke(app, ["eval", str(out), "--url", url, *more])
        assert done.exit_code == 1 and not out.exists()
        assert done.output == f"rlkd: --url {SENTENCE} variable in --key-env\n"


@pytest.mark.parametrize("url", NO_URL)
def test_what_is_no_url_is_refused_and_not_repeated(
    url: str, options: SetOptions, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["eval", str(tmp_path / "out"), "--url", url])
    assert done.output == "rlkd: --url must look like http://host:port/v1\n" and done.exit_code == 1
    with pytest.raises(FormatError, match=r"^must look like http://host:port/v1$"):
        check_url(url, "X")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["structure", "check", "judge-check", "construct", "subset"])
def test_each_command_refuses_it_before_any_work(
    command: str, options: SetOptions, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    (tmp_path / "rows.jsonl").write_text("{}\n")
    for role in ROLES:
        options(**{f"{role}_base_url": "http://h/v1?", f"{role}_model": "m"})
    rows = str(tmp_path / "rows.jsonl")
    words = {"structure": [rows, str(out)], "construct": [rows, str(out)]}
    words["subset"] = [rows, rows, str(out)]
    done = CliRunner().invoke(app, [command, *words.get(command, [])])
    assert done.exit_code == 1 and SENTENCE in done.output
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("http://h/v1", "http://h/v1"),
        ("HTTPS://Host:8443/v1/", "https://Host:8443/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://10.0.0.1", "http://10.0.0.1"),
        ("https://h/a-b/c_d/~e/v1beta:generate/openai/", "https://h/a-b/c_d/~e/v1beta:generate/openai"),
        ("http://bücher.example/v1", "http://bücher.example/v1"),
        ("http://h/v1%20x", "http://h/v1%20x"),
    ],
)  # fmt: skip
def test_other_urls_are_taken(url: str, right: str) -> None:
    assert check_url(url, "X") == right


@pytest.mark.parametrize("value", ["hf_AbCdEf0123", "sk-s3cret", "two words"])
def test_a_key_in_place_of_its_variables_name_is_not_repeated(value: str, tmp_path: Path) -> None:
    words = ["eval", str(tmp_path / "out"), "--url", "http://h/v1", "--key-env", value]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and "--key-env: there is no such variable" in done.output
    assert value not in done.output and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given", ["--api-key s3cret", "--api_key=s3cret", "--x 1 --api-key 's3cret'"]
)
def test_server_options_hold_no_key(given: str, tmp_path: Path) -> None:
    from rlkd_plugin.llm_io.model_server import model_server

    with (
        pytest.raises(RlkdError, match="--server-options must not hold a key") as error,
        model_server("m", "", given, tmp_path / "log"),
    ):
        pass
    assert "s3cret" not in str(error.value) and not any(tmp_path.iterdir())
