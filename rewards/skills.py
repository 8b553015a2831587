"""What a question asks for, with the things it asks about left out.

"How many red circles are there?" and "How many stars are there?" ask for the same: their skill is
"how many _ are there". Likeness of words cannot see that "Are there more stars than circles?" is another
matter; R-Diverse (arXiv 2602.13103) remembers skills for the same reason, which it reads from programs.
"""

import re
from collections import Counter
from collections.abc import Sequence

# Words that say what is asked, not of what: English function words, comparatives and names of properties.
_SAYING = """
what which who whose where when why how many much long far often
is are was were be been does do did has have had can could will would should may might must
a an the this that these those there here it its they their he she his her
and or but nor not no none neither both all any each every some either only
of in on at by to from with without for about as into onto over under above below between behind
beside next near inside outside across along through than
more most less least fewer fewest same different other another first second last
color colour shape size number kind type material time day direction position brand name if then because
"""
_KEPT = frozenset(_SAYING.split())
_WORD = re.compile(r"\w+(?:'\w+)?|[,;]")


def skill(question: str) -> str:
    """Returns the question in lower case with each run of other words as `_`.

    A question without any of the English words that are kept is its own skill.

    Args:
        question: one question in natural language.
    """
    words = _WORD.findall(question.casefold())
    if not any(word in _KEPT for word in words):
        return " ".join(words)
    kept: list[str] = []
    for word in words:
        shown = word if word in _KEPT or word in ",;" else "_"
        if shown != "_" or kept[-1:] != ["_"]:
            kept.append(shown)
    return " ".join(kept)


def skill_shares(questions: Sequence[str], memory: Sequence[str]) -> list[float]:
    """Returns how large a share of memory and questions together has the skill of each question, in (0, 1].

    Args:
        questions: n texts; an empty one has no skill, and 0.
        memory: earlier questions, each as often as it was asked.
    """
    skills = [skill(question) if question else "" for question in questions]
    counts = Counter(found for found in [*skills, *map(skill, memory)] if found)
    return [counts[found] / counts.total() if found else 0.0 for found in skills]
