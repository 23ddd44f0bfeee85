"""One check over many cases, as one test that names every case that failed."""

from collections.abc import Callable, Mapping
from typing import TypeVar

Case = TypeVar("Case")


def check_each(cases: Mapping[str, Case], check: Callable[[Case], object]) -> None:
    """Run a check on each case.

    Raises:
        AssertionError: if it failed for any; it names them all, and the first one's error.
    """
    assert cases, "there is no case"
    failed: dict[str, Exception] = {}
    for name, case in cases.items():
        try:
            check(case)
        except Exception as error:
            failed[name] = error
    if failed:
        name, error = next(iter(failed.items()))
        raise AssertionError(
            f"{len(failed)} of {len(cases)} cases failed: {', '.join(failed)}\n{name}: {error!r}"
        ) from error
