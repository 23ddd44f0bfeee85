"""The README says what the code does."""

from pathlib import Path

from rlkd_plugin.llm_io.settings import settings_table

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")


def test_the_settings_table_is_the_codes() -> None:
    """Every setting stands in the README with its default and its sentence."""
    assert settings_table() in README
