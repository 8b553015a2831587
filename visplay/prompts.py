"""The two roles that one VLM plays: every prompt, once, as chat messages through the processor's template."""

import re
from collections.abc import Sequence
from typing import Any

from PIL import Image

from rollouts.engine import Prompt

QUESTIONER_PROMPT = (
    "Look at the image and ask one question about it that takes reasoning to answer and that cannot be "
    "answered without the image. Choose one type: {types}. Reply in exactly this form: "
    "<type>the type</type><question>the question</question><answer>the answer</answer>"
)
REASONER_PROMPT = (
    "{question}\nLook at the image, think step by step, then put your final answer{form} in \\boxed{{}}."
)
# By question type, what form its answer takes; what type a benchmark's rule is of is in `evaluation.prompts`.
ANSWER_FORMS = {
    "multiple choice": "the letter of one option",
    "numerical": "a number",
    "yes/no": "yes or no",
    "short answer": "a few words",
}
_MARKER = re.compile(r"<image[ _]?(\d+)>")
_MARKER_KEPT = re.compile(r"(<image[ _]?\d+>)")


def questioner_prompt(
    image: Image.Image, *, types: Sequence[str], forms: bool = True, key: str = ""
) -> Prompt:
    """Ask the Questioner for one question about `image`, of one of `types`.

    `forms` says of each type what form its answer takes.
    """
    described = [_described(kind) if forms else kind for kind in types]
    return _image_then_text(image, QUESTIONER_PROMPT.format(types=", ".join(described)), key=key)


def reasoner_prompt(image: Image.Image, question: str, *, kind: str = "", key: str = "") -> Prompt:
    r"""Ask the Reasoner to answer `question` about `image` in \boxed{}, in the form that its type takes."""
    return _image_then_text(image, _reasoner_text(question, kind), key=key)


def benchmark_prompt(
    images: Sequence[Image.Image],
    question: str,
    *,
    options: Sequence[str] = (),
    kind: str = "",
    key: str = "",
) -> Prompt:
    r"""Ask the Reasoner a benchmark's question, in the words it was trained with.

    Args:
        images: the pictures; one alone comes first, as in training.
        question: may name several pictures as `<image 1>`, `<image 2>`: each stands where it is named first,
            and those that are never named come before the text.
        options: texts of the options, A first, which may name pictures too.
        kind: the question's type, which says what form the answer takes; empty for any.
        key: see `Prompt`.
    """
    text = _reasoner_text(with_options(question, options), kind)
    if len(images) == 1:
        return _image_then_text(images[0], _MARKER.sub("", text).strip(), key=key)
    named = list(dict.fromkeys(int(number) for number in _MARKER.findall(text)))
    named = [number for number in named if 1 <= number <= len(images)]
    order = [number for number in range(1, len(images) + 1) if number not in named]
    content: list[dict[str, Any]] = [{"type": "image"} for _ in order]
    for piece in _MARKER_KEPT.split(text):
        number = int(match[1]) if (match := _MARKER.fullmatch(piece)) else None
        if number in named and number not in order:
            content.append({"type": "image"})
            order.append(number)
        elif number is not None:
            content.append({"type": "text", "text": f"(picture {number})"})
        elif piece:
            content.append({"type": "text", "text": piece})
    return Prompt(
        messages=({"role": "user", "content": content},), images=tuple(images[i - 1] for i in order), key=key
    )


def with_options(question: str, options: Sequence[str]) -> str:
    """A question with its options below it, one a line, lettered from A."""
    return "\n".join([question, *(f"{chr(65 + i)}. {option}" for i, option in enumerate(options))])


def _reasoner_text(question: str, kind: str) -> str:
    form = f", {ANSWER_FORMS[kind]}," if kind in ANSWER_FORMS else ""
    return REASONER_PROMPT.format(question=question, form=form)


def _described(kind: str) -> str:
    """A question type with what its question holds and what form its answer takes."""
    if kind not in ANSWER_FORMS:
        return kind
    options = "with options A, B and so on in the question, " if kind == "multiple choice" else ""
    return f"{kind} ({options}answered by {ANSWER_FORMS[kind]})"


def _image_then_text(image: Image.Image, text: str, *, key: str) -> Prompt:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return Prompt(messages=({"role": "user", "content": content},), images=(image,), key=key)
