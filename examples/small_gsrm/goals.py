"""The goal of a sub-question: "How many eggs does Janet sell?" wants "how many eggs Janet sells".

Plain grammar, no model: the auxiliary goes behind the subject, "does" and "did" into the verb. A
question that no rule covers keeps its words, in quotation marks.
"""

import re

_DO = {"do", "does", "did"}
_BE = {"is", "are", "was", "were"}
_MODAL = {"will", "would", "can", "could", "should", "must", "has", "have", "had"}
_VERBS = frozenset(
    """have cost spend need take make pay get buy eat sell earn give use save run travel weigh score
    receive bring drive write do collect work see read walk sleep ride catch lose charge complete
    swim increase raise consume cook bake dig hike reach remain grow fill pick produce send add win
    finish press lay kill drink harvest leave want go come play put carry pull purchase tap smash
    throw burn feed tow prepare hold clean fetch feel climb wash teach steal lift build stick spit
    chew cross extract invest watch keep owe contain pass last bind tie gather donate lend borrow
    share withdraw deposit deliver attend practice visit miss reduce gain smoke order cut download
    fit show require possess own beat visit answer serve hire hatch pour melt eats fly jump weave
    measure equal paint draw add remove slay""".split()
)
_VERBS_AFTER_SUBJECT = _VERBS | frozenset(
    """be been plant start end change increase store sign help spin mow grill sew shine knit type
    spent eaten sent given made used earned placed played walked received sold bought taken cover
    guess obtain ring place row stamp tutor edit count triple exercise print invite join attract
    open move fall want decorate lack undergo skip process publish bike learn crawl contribute
    groom trade find separate perform rent""".split()
)
_PAST = {
    pair.partition(":")[0]: pair.partition(":")[2]
    for pair in """have:had cost:cost spend:spent take:took make:made pay:paid get:got buy:bought
    eat:ate sell:sold give:gave run:ran bring:brought drive:drove write:wrote do:did see:saw
    read:read sleep:slept ride:rode catch:caught lose:lost swim:swam dig:dug grow:grew send:sent
    win:won lay:laid drink:drank leave:left go:went come:came put:put throw:threw feed:fed
    hold:held feel:felt teach:taught steal:stole build:built stick:stuck spit:spat keep:kept
    lend:lent withdraw:withdrew cut:cut fit:fit show:showed beat:beat fly:flew draw:drew tie:tied
    slay:slew bind:bound weave:wove ring:rang fall:fell find:found undergo:underwent""".split()
}
_NOUN_MARKS = frozenset(
    "the a an his her their its each every one of in for first second third total".split()
)
_NO_SUBJECT = frozenset(
    """in on at of from per not left needed sold spent used given occupied bought paid infected
    distributed remaining there cheaper about being added made eaten rented still""".split()
)
_PREDICATES = frozenset(
    """worth now left in on at when after before from old if for there by than once going able
    compared each altogether this during away long able remaining""".split()
)


def goal(question: str) -> str:
    """Return what a sub-question wants to know, as a clause or a noun phrase."""
    words = question.strip().rstrip("?. ").split()
    quoted = f'the answer to "{question.strip()}"'
    if len(words) < 2 or words[0].lower() not in ("how", "what", "what's"):
        return quoted
    if words[0].lower() == "what's":
        return " ".join(words[1:])
    words[0] = words[0].lower()
    known = _DO | _BE | _MODAL
    place = next((i for i, word in enumerate(words) if i and word in known), None)
    if place is None:
        return " ".join(words)
    head, auxiliary, rest = words[:place], words[place], words[place + 1 :]
    if head[:2] in (["what", "percent"], ["what", "percentage"]) and auxiliary in _BE:
        return " ".join(words)
    if head == ["what"]:
        return _noun_phrase(auxiliary, rest) or quoted
    if auxiliary in _DO:
        clause = _with_verb(auxiliary, rest)
    elif auxiliary in _BE:
        clause = _with_copula(auxiliary, rest)
    else:
        clause = _with_modal(auxiliary, rest)
    return " ".join([*head, *clause]) if clause else quoted


def _noun_phrase(auxiliary: str, rest: list[str]) -> str | None:
    if auxiliary in _BE and rest:
        return " ".join(rest)
    if auxiliary in ("will", "would") and "be" in rest:
        rest.remove("be")
        return " ".join(rest)
    clause = _with_modal(auxiliary, rest) if auxiliary in _MODAL else None
    return " ".join(["what", *clause]) if clause else None


def _verb_at(rest: list[str], verbs: frozenset[str]) -> int | None:
    """Return where the subject ends: at the first verb that no article or adjective precedes."""
    for place in range(1, len(rest)):
        if rest[place].rstrip(",") in verbs and rest[place - 1].lower() not in _NOUN_MARKS:
            return place
    return None


def _with_verb(auxiliary: str, rest: list[str]) -> list[str] | None:
    place = _verb_at(rest, _VERBS) or _verb_at(rest, _VERBS_AFTER_SUBJECT)
    if place is None:
        return None
    bare = rest[place].rstrip(",")
    verb = {"do": str, "does": _third_person, "did": _past}[auxiliary](bare)
    return [*rest[:place], verb + rest[place][len(bare) :], *rest[place + 1 :]]


def _with_copula(auxiliary: str, rest: list[str]) -> list[str] | None:
    if not rest or rest[0] in _NO_SUBJECT or re.search(r"\d|(?:ed|ing)$", rest[0]):
        return [auxiliary, *rest]
    place = next((i for i in range(1, len(rest)) if rest[i] in _PREDICATES), len(rest))
    return [*rest[:place], auxiliary, *rest[place:]]


def _with_modal(auxiliary: str, rest: list[str]) -> list[str] | None:
    if auxiliary in ("has", "have", "had") and _verb_at(rest, _VERBS_AFTER_SUBJECT) is None:
        return [auxiliary, *rest]
    if rest and rest[0] in ("be", *_VERBS):
        return [auxiliary, *rest]
    place = _verb_at(rest, _VERBS_AFTER_SUBJECT)
    return [*rest[:place], auxiliary, *rest[place:]] if place else None


def _third_person(verb: str) -> str:
    if verb in ("have", "do", "go"):
        return {"have": "has", "do": "does", "go": "goes"}[verb]
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ies"
    return verb + ("es" if re.search(r"(s|x|ch|sh)$", verb) else "s")


def _past(verb: str) -> str:
    if verb in _PAST:
        return _PAST[verb]
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ied"
    return verb + ("d" if verb.endswith("e") else "ed")
