"""Gold answers keep their value: what is rewritten, what is refused, what stays as it is.

What stands in the golds as people write them is worth nothing by its looks: each row of the tables
says which completions ms-swift's own `accuracy` calls right for it, and which wrong.
"""

import random
from typing import Any

import pytest

from rlkd_plugin.gsrm import FormatError
from rlkd_plugin.rlkd_data.rows.gold_texts import plain_notation
from rlkd_plugin.rlkd_data.rows.golds import NormalisedGold, boxed
from rlkd_plugin.rlkd_data.rows.row_format import grpo_row

DIGIT_GROUPS = [
    ("5 000", ["5000", "5,000"], ["0", "5", "5001"]),
    (r"5\,000", ["5000"], ["0", "5"]),
    (r"5\;000", ["5000"], ["0"]),
    ("5~000", ["5000"], ["0"]),
    ("5{,}000", ["5000"], ["5", "0"]),
    (r"10,\!080", ["10080"], ["10"]),
    ("5\u202f000", ["5000"], ["0"]),
    ("100\u00a0200", ["100200"], ["20000"]),
    ("12 345", ["12345"], ["357", "4140"]),
    ("1 234 567", ["1234567"], ["0"]),
    ("1 234.56", ["1234.56"], ["1234"]),
    ("1'000'000", ["1000000"], ["1"]),
    ("1.234.567,89", ["1234567.89"], ["1.234"]),
    ("-5 000", ["-5000"], ["5000", "0"]),
    (r"\frac{1 000}{3}", [r"\frac{1000}{3}"], ["0"]),
    (r"\frac{1,000}{3}", [r"\frac{1000}{3}"], ["0"]),
    ("(5 000, 6 000)", ["(5000, 6000)"], ["(0, 0)", "(6000, 5000)"]),
    ("5 000 km", ["5000", r"5000\text{ km}"], ["5"]),
    ("3{,}14", ["3.14"], ["3", "314"]),
    ("0{,}125", ["0.125"], ["125"]),
    ("x=1,000", ["1000", "x=1000"], ["1", "0"]),
    ("x = 1,000, y = 2,000", ["x=1000, y=2000"], ["x=1, y=2"]),
    ("1,000/3", [r"\frac{1000}{3}"], ["1", "0"]),
    ("1,234 + x", ["x+1234"], ["1, 234+x"]),
    ("2\u00d71,000", ["2000"], ["2", "0"]),
    ("1,000π", [r"1000\pi"], ["1", "0"]),
    ("1,000x", ["1000x"], ["1", "0"]),
    ("1,000%", [r"1000\%", "1000"], ["1", "0"]),
    ("1,000:3", ["1000:3"], ["1:3"]),
]
MIXED_NUMBERS = [
    ("2 1/2", ["2.5", r"\frac{5}{2}", "5/2", r"2\frac{1}{2}"], ["1.5", "1", "2"]),
    ("-2 1/2", ["-2.5"], ["2.5", "-1.5"]),
    (r"2\frac12", ["2.5"], ["1"]),
    ("2½", ["2.5"], ["1"]),
    ("2 ½", ["2.5"], ["1"]),
    ("1 1\u20442", ["1.5"], ["0.5", "1"]),
    ("½", ["0.5", r"\frac{1}{2}", "1/2"], ["2", "1"]),
    ("-¾", ["-0.75"], ["0.75"]),
    ("⅔π", [r"\frac{2\pi}{3}"], ["2"]),
    ("½, ¾", [r"\frac{1}{2}, \frac{3}{4}"], ["1, 3"]),
    ("2 1/2 and 3 1/2", ["2.5, 3.5"], ["1.5, 2"]),
    ("1½ hours", ["1.5", r"\frac{3}{2}\text{ hours}"], ["1"]),
]
SIGNS = [
    ("60°", ["60", r"60^\circ", r"60^{\circ}", r"60\text{ degrees}"], ["0", "6", r"61^\circ"]),
    (r"60\degree", [r"60^\circ"], ["6"]),
    ("37.5°", ["37.5"], ["37"]),
    ("60 °C", ["60", r"60^\circ\text{C}"], ["6"]),
    ("x²+1", ["x^2+1", "1+x^2"], ["x^2", "2x+1"]),
    ("10⁻³", ["0.001", "10^{-3}"], ["1000", "10"]),
    ("2ⁿ⁺¹", ["2^{n+1}"], ["2^n"]),
    ("x₁+x₂", ["x_1+x_2"], ["x_1"]),
    ("log₂8", ["3", r"\log_2 8"], ["8"]),
    ("\uff083\uff0c4\uff09", ["(3,4)", "(3, 4)"], ["(4,3)", "3"]),
    ("\uff3b1\uff0c2\uff3d", ["[1,2]"], ["(1,2)"]),
    ("x\uff1d5", ["x=5", "5"], ["6"]),
    ("\uff13\uff1a\uff14", ["3:4"], ["4:3"]),
    ("\uff15\uff10\uff05", [r"50\%"], ["5"]),
    ("\u22125", ["-5"], ["5"]),
    ("\u20135", ["-5"], ["5"]),
    ("\U0001d465 + \U0001d7d3", ["x+5"], ["x"]),
    ("3\u00b74", ["12", r"3\cdot 4"], ["7"]),
    ("3\u00d74", ["12"], ["7"]),
    ("6\u00f72", ["3"], ["12"]),
    ("2π", [r"2\pi"], ["2"]),
    ("∞", [r"\infty"], [r"-\infty"]),
    ("(\u2212∞\uff0c3]", [r"(-\infty,3]"], [r"(-\infty,3)"]),
    ("x\u2a7d5", [r"x\le 5"], ["x<5"]),
    ("(-∞,1)\u222a(2,∞)", [r"(-\infty,1)\cup(2,\infty)"], [r"(-\infty,1)"]),
]
ROOTS = [
    ("3√5", [r"3\sqrt{5}", r"\sqrt{45}"], ["15", r"\sqrt{5}"]),
    ("√(2+3)", [r"\sqrt{5}"], [r"\sqrt{2}+3"]),
    ("√12/3", [r"\frac{2\sqrt{3}}{3}"], ["2"]),
    ("2√3 + 1", [r"1+2\sqrt{3}"], ["7"]),
    ("√2√3", [r"\sqrt{6}"], ["6"]),
    ("√(2+√3)", [r"\sqrt{2+\sqrt{3}}"], ["2"]),
    ("√½", [r"\frac{1}{\sqrt{2}}"], ["1"]),
    ("∛8", ["2"], ["8"]),
    ("³√8", ["2"], ["8"]),
    ("12√3 cm", [r"12\sqrt{3}"], ["36"]),
    ("5*sqrt(3)", [r"5\sqrt{3}"], ["15"]),
]
WRITTEN = [
    ("50%", ["50", r"50\%", "0.5"], ["5"]),
    ("$18.90", ["18.90", "18.9"], ["18"]),
    ("€5", ["5"], ["50"]),
    ("US$1,234", ["1234"], ["234"]),
    ("5 dollars", ["5", r"5\text{ dollars}", r"\$5"], ["50"]),
    ("5 km/h", ["5", r"5\text{ km/h}"], ["50"]),
    ("5 cm²", ["5", r"5\text{ cm}^2"], ["25"]),
    ("6π cm²", [r"6\pi"], ["6"]),
    ("9.8 m/s²", ["9.8"], ["9"]),
    ("5 kJ", ["5", r"5\text{ kJ}"], ["50"]),
    ("5 MeV", ["5"], ["50"]),
    ("5 μm", ["5", r"5\text{ μm}"], ["50"]),
    ("5 mA", ["5"], ["50"]),
    ("5 kN/m", ["5"], ["50"]),
    ("5 kJ/mol", ["5"], ["50"]),
    ("5 (cm)", ["5"], ["50"]),
    (r"\text{5 cm}", ["5", r"5\text{ cm}"], ["50"]),
    (r"\textbf{x = 5}", ["5"], ["50"]),
    ("12,50 €", ["12.5", "12.50"], ["12", "50"]),
    ("$3,50", ["3.5"], ["3", "350"]),
    ("B)", ["B", "(B)"], ["A"]),
    ("24 apples", ["24"], ["2"]),
    ("1e5", ["100000"], ["15"]),
    ("1.5E-3", ["0.0015"], ["1.5"]),
    ("2**10", ["1024"], ["20"]),
    ("2^(n+1)", ["2^{n+1}"], ["2^n+1"]),
    ("10^-3", ["0.001"], ["1000"]),
    ("2pi", [r"2\pi"], ["2"]),
    ("ln 2", [r"\ln 2"], ["2"]),
    ("sin²x", [r"\sin^2 x"], ["x"]),
    ("7.", ["7"], ["70"]),
    ("**24**", ["24"], ["2"]),
    (r"\(24\)", ["24"], ["2"]),
    ("$24$", ["24"], ["4"]),
    (r"\boxed{24}", ["24"], ["4"]),
]
UNCHANGED = [
    ("5,000", ["5000"], ["5"]),
    ("(3,4)", ["(3,4)"], ["34", "(4,3)"]),
    ("1, 2, 3", ["1,2,3", "3,2,1"], ["123", "1,2"]),
    ("1,5", ["1,5"], ["1.5", "15"]),
    ("1,234", ["1234", "1,234"], ["1", "234"]),
    ("x=1, y=100", ["x=1, y=100"], ["x=1100"]),
    ("10 - 3", ["7"], ["10"]),
    ("2x^2 -3x", ["2x^2-3x"], ["2x^2"]),
    (r"5\text{ N}", ["5", r"5\text{ N}"], ["50"]),
    ("2 n", ["2n"], ["2"]),
    ("[1,2)", ["[1,2)"], ["[1,2]"]),
    (r"\{1,2\}", [r"\{1,2\}"], ["12"]),
    ("1 or 2", ["1,2"], ["12"]),
    ("x=1, y=2", ["x=1, y=2"], ["x=2, y=1"]),
    ("3:4", ["3:4"], ["4:3"]),
    ("2e^3", ["2e^3"], ["2000"]),
    (r"60^\circ", ["60"], ["6"]),
    (r"\log_2 8", ["3"], ["28"]),
    (
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        [r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"],
        ["1"],
    ),
    ("Monday", ["Monday", r"\text{Monday}"], ["Sunday"]),
    ("yes", ["yes", r"\text{yes}"], ["no"]),
    ("蓝色", ["蓝色"], ["红色"]),
]


def solution(answer: Any, domain: str = "math") -> str:
    """Return the solution of a row with this answer."""
    raw = {"problem": "p", "teacher_reasoning": "r", "domain": domain, "answer": answer}
    return grpo_row(raw)["solution"]


def rewards(gold: str, answers: list[str]) -> list[float]:
    """Return what ms-swift's `accuracy` gives completions that end in these answers."""
    from swift.rewards import orms

    completions = [f"<think>\nx\n</think>\n\nSo it is \\boxed{{{answer}}}." for answer in answers]
    return orms["accuracy"]()(completions, [gold] * len(answers))


@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [*DIGIT_GROUPS, *MIXED_NUMBERS, *SIGNS, *ROOTS, *WRITTEN, *UNCHANGED],
)
def test_a_gold_has_the_value_that_its_writer_meant(
    answer: str, right: list[str], wrong: list[str]
) -> None:
    gold = solution(answer)
    assert rewards(gold, right) == [1.0] * len(right)
    assert rewards(gold, wrong) == [0.0] * len(wrong)
    assert solution(gold[7:-1]) == gold  # what was rewritten is not rewritten again


@pytest.mark.parametrize("answer", [row[0] for row in UNCHANGED])
def test_a_gold_that_is_read_as_it_is_meant_stays(answer: str) -> None:
    assert solution(answer) == f"\\boxed{{{answer}}}"
    assert not isinstance(solution(answer), NormalisedGold)


@pytest.mark.parametrize("answer", ["5 000", "60°", "½", "x²", "5 km/h"])
def test_a_rewritten_gold_tells_so(answer: str) -> None:
    assert isinstance(boxed(answer), NormalisedGold)


@pytest.mark.parametrize(
    "answer",
    [
        *["1 2 3", "10 20", "100 200", "5555 000", "0 500", "1 000 2", "12 345/678"],
        *["(1,000)", "(1, 000)", r"\{1,000\}", "{1,000}", "[0, 1,000)", "1,000,2", "1,00,000"],
        *["1 234,5", "1.234,5", "1, 000", "2 3/2", "2 1/2 x", "1½x", "x2½", r"2\frac{1}{2}\pi"],
        *["5'10\"", "30°15'", r"30^\circ 15'", "3:05", "3:00 PM", "10:30 am", "2 h 30 min"],
        *["5 ft 3 in", "3 x 4", "0.1(6)", "2e-3", "1/3%", "5 m²", "5m/s"],
        *["√2x", "√ab", "√x²", "√(2)²", "x³√2", "√", "√(2"],
        *["2020-01-05", "01/05/2020", "2020/1/5", "555-1234", "3-5", "10-20 years", "5 -5"],
        *["5 N", "300 K", "2 A", "5 N/m", "5 J/K", "5 kg·m/s", "5 m s⁻¹", "$5k", "€1.5M"],
        *["5 million", r"5\text{ million}", "2 dozen", "4 and a half", "about 5", "3 below zero"],
    ],
)
def test_a_gold_with_two_readings_is_refused(answer: str) -> None:
    """A gold of another value would be worse than a row less."""
    with pytest.raises(FormatError, match=r"^gold answer can be read in two ways: "):
        solution(answer)


@pytest.mark.parametrize(
    "answer",
    ["0.333...", r"0.\overline{3}", "3\u20135", "∠ABC = 60°", "5元", "50¢", "x → 3", "1 ‰"],
)
def test_a_gold_that_looks_like_a_number_and_is_read_as_a_text_is_refused(answer: str) -> None:
    """It verifies against itself, and against nothing else that is right."""
    with pytest.raises(
        FormatError, match=r"^gold answer looks like a number but is read as a text"
    ):
        solution(answer)


def test_a_solution_of_our_own_format_is_read_in_its_box() -> None:
    """The words around it stay; so does a solution without a box, or of another domain."""
    raw = {"problem": "p", "teacher_reasoning": "r"}
    row = grpo_row({**raw, "solution": "It is $\\boxed{5 000}$."})
    assert row["solution"] == "It is $\\boxed{5000}$."
    assert isinstance(row["solution"], NormalisedGold)
    code = {**raw, "domain": "code", "solution": "\\boxed{x = 5 000}"}
    assert grpo_row(code)["solution"] == code["solution"]
    assert solution("5 000", "science") == "\\boxed{5000}"
    assert solution("5 000", "puzzle") == "\\boxed{5 000}"
    assert solution("\\frac43", "puzzle") == "\\boxed{\\frac{4}{3}}"


@pytest.mark.parametrize(
    ("answer", "text"),
    [(5, "5"), (5.0, "5.0"), (0, "0"), (-2.5, "-2.5"), (1e-7, "0.0000001"), (1e22, "1" + "0" * 22)],
)
def test_an_answer_may_be_a_number(answer: float, text: str) -> None:
    """Also 0, and without an exponent, which would be read as Euler's number."""
    assert solution(answer) == f"\\boxed{{{text}}}"
    raw = {"problem": "p", "teacher_reasoning": "r", "solution": answer}
    assert grpo_row(raw)["solution"] == f"\\boxed{{{text}}}"


@pytest.mark.parametrize("answer", [True, False, float("nan"), float("inf"), [5], {}, None])
def test_what_is_no_number_and_no_text_is_no_answer(answer: object) -> None:
    with pytest.raises(FormatError, match="answer is missing or not a text"):
        solution(answer)


def test_a_gold_of_200_digits_is_refused_and_one_of_190_is_exact() -> None:
    """math-verify's time for a longer one would depend on how busy the machine is."""
    with pytest.raises(FormatError, match="does not verify against itself"):
        solution("7" * 200)
    gold = solution("7" * 190)
    assert rewards(gold, ["7" * 190, "7" * 189 + "8", "7" * 189]) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("answer", ["9^{9^{9}}", "9^{9^{9^{9}}}", "99999999!"])
def test_a_tower_of_exponents_is_compared_by_its_form(answer: str) -> None:
    """Nothing computes it here; `accuracy` gives up on another answer after its own 5 seconds."""
    assert solution(answer) == f"\\boxed{{{answer}}}"


@pytest.mark.parametrize(
    "text",
    [
        *["√(" * 99, "√" * 199, "(1," * 66, "1 000" * 39, "2^(" * 60, "½" * 199, "$" * 199],
        *["1'" * 99, "\\boxed{" * 28, "**" * 99, "\\sqrt{" * 33, " " * 190 + "x"],
    ],
)
def test_hostile_texts_have_an_outcome(text: str) -> None:
    """A gold or a `FormatError`, nothing else."""
    try:
        assert boxed(text).startswith("\\boxed{")
    except FormatError as error:
        assert str(error).startswith("gold answer can be read in two ways")


def test_any_text_is_rewritten_once() -> None:
    """Random texts of the signs that the rules know: a second pass changes nothing."""
    signs = [*"0123456789 ,.'½√²³°()[]{}^_/+-xyπ", "\\frac", "\\,", "\\text{ km}", "**", " cm"]
    choice = random.Random(7).choice
    kept = 0
    for _ in range(20_000):
        text = "".join(choice(signs) for _ in range(choice([1, 2, 4, 8, 16])))
        try:
            plain = plain_notation(text)
            again = plain_notation(plain)
        except FormatError:
            continue
        assert again == plain, text
        kept += 1
    assert kept > 2000
