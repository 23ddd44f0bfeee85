"""The lines of a measurement: read by what they are, refused with their place."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.gsrm import RlkdError, Step
from rlkd_plugin.rlkd_data.jobs.record import record_file
from rlkd_plugin.rlkd_eval.diversity_job import check_structures
from rlkd_plugin.rlkd_eval.diversity_lines import Decomposed, Response, read_kept_lines
from rlkd_plugin.rlkd_eval.diversity_plan import DiversityJob, Drawing

DRAWN: dict[str, Any] = {"problem": "p", "domain": "math", "sample": 1, "response": "r"}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    drawn = Response(**DRAWN, thinking="half \ud83d", cut_off=True)
    steps = (Step("m", "s", "a"), Step("m", "s", "b"))
    found = Decomposed(problem="p", domain="math", sample=1, status="ok", steps=steps)
    file.write_text(json.dumps(drawn.line()) + "\n")
    assert [*read_kept_lines(file, Response)] == [drawn]
    file.write_text(json.dumps(found.line()) + "\n")
    assert [*read_kept_lines(file, Decomposed)] == [found]
    assert found.key == drawn.key
    assert [*read_kept_lines(tmp_path / "none", Response)] == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"response": None}, r"Expected `str`, got `null` - at `\$\.response`"),
        ({"response": 5}, "Expected `str`, got `int`"),
        ({"sample": "1"}, "Expected `int`, got `str`"),
        ({"cut_off": "no"}, "Expected `bool`"),
        ({"thinking": ["t"]}, "Expected `str`, got `array`"),
    ],
)
def test_a_line_of_another_shape_is_refused(
    change: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    file = tmp_path / "responses.jsonl"
    file.write_text(json.dumps(DRAWN) + "\n" + json.dumps(DRAWN | change) + "\n")
    with pytest.raises(
        RlkdError, match=rf"responses\.jsonl:2 is not a line of this job: .*{fault}"
    ):
        list(read_kept_lines(file, Response))


@pytest.mark.parametrize("line", ["{}", "[]", "notes", '{"problem": "p", "sample": 1}'])
def test_a_line_of_another_tool_is_refused(line: str, tmp_path: Path) -> None:
    for kind in (Response, Decomposed):
        (tmp_path / "l.jsonl").write_text(line + "\n")
        with pytest.raises(RlkdError, match=r"l\.jsonl:1 is not a line of this job"):
            list(read_kept_lines(tmp_path / "l.jsonl", kind))


def test_structures_without_a_record_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    job = DiversityJob(tmp_path, tmp_path / "rows.jsonl", Drawing(), "m")
    check_structures(job)
    job.structures.write_text("{}\n")
    with pytest.raises(RlkdError, match="the record of what made it: remove it to decompose"):
        check_structures(job)
    record_file(job.structures).write_text('{"command": "rlkd diversity", "makers": {"m": {}}}')
    check_structures(job)
