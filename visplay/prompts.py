"""The two roles that one VLM plays: every prompt, once, as chat messages in the words of `prompts`."""

import re
from collections.abc import Sequence
from typing import Any

from PIL import Image

from rewards.answers.choices import option_label
from rollouts.engine import Prompt
from visplay.config.prompts import Prompts

_MARKER = re.compile(r"<image[ _]?(\d+)>")
_MARKER_KEPT = re.compile(r"(<image[ _]?\d+>)")


def questioner_prompt(image: Image.Image, *, types: Sequence[str], words: Prompts, key: str = "") -> Prompt:
    """Ask the Questioner for one question about `image`, of one of `types`."""
    described = ", ".join(_described(kind, words) for kind in types)
    return _image_then_text(image, _filled(words.questioner, types=described), words=words, key=key)


def reasoner_prompt(
    image: Image.Image, question: str, *, words: Prompts, kind: str = "", key: str = ""
) -> Prompt:
    """Ask the Reasoner to answer `question` about `image`, in the form that its type takes."""
    return _image_then_text(image, reasoner_text(question, kind, words), words=words, key=key)


def canary_prompt(image: Image.Image, words: Prompts) -> Prompt:
    """What the engine is asked before the first step, about one of the run's pictures."""
    return reasoner_prompt(image, "What is in the picture?", words=words)


def benchmark_prompt(
    images: Sequence[Image.Image],
    question: str,
    *,
    words: Prompts,
    options: Sequence[str] = (),
    kind: str = "",
    key: str = "",
) -> Prompt:
    """Ask the Reasoner a benchmark's question, in the words it was trained with.

    Args:
        images: the pictures; one alone comes first, as in training.
        question: may name several pictures as `<image 1>`, `<image 2>`: each stands where it is named first,
            and those that are never named come before the text.
        words: what the Reasoner is told.
        options: texts of the options, A first, which may name pictures too.
        kind: the question's type, which says what form the answer takes; empty for any.
        key: see `Prompt`.
    """
    text = reasoner_text(with_options(question, options), kind, words)
    if len(images) == 1:
        return _image_then_text(images[0], _MARKER.sub("", text).strip(), words=words, key=key)
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
            place = order.index(number) + 1 if number in order else number
            content.append({"type": "text", "text": f"(picture {place})"})
        elif piece:
            content.append({"type": "text", "text": piece})
    return _turns(content, images=[images[i - 1] for i in order], words=words, key=key)


def with_options(question: str, options: Sequence[str]) -> str:
    """A question with its options below it, one a line, lettered from A."""
    return "\n".join([question, *(f"{option_label(i)}. {option}" for i, option in enumerate(options))])


def reasoner_text(question: str, kind: str, words: Prompts) -> str:
    """What the Reasoner reads beside the picture: a question of a type, in these words."""
    form = words.form_of(kind)
    return _filled(words.reasoner, question=question, form=f", {form}," if form else "")


def _described(kind: str, words: Prompts) -> str:
    """A question type with what its question holds and what form its answer takes."""
    form = words.form_of(kind)
    if not form:
        return kind
    options = "with options A, B and so on in the question, " if kind == "multiple choice" else ""
    return f"{kind} ({options}answered by {form})"


def _filled(template: str, **values: str) -> str:
    """The template with each `{name}` replaced at once: no value is read as a name, other braces stay."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), template)


def _image_then_text(image: Image.Image, text: str, *, words: Prompts, key: str) -> Prompt:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return _turns(content, images=[image], words=words, key=key)


def _turns(
    content: list[dict[str, Any]], *, images: Sequence[Image.Image], words: Prompts, key: str
) -> Prompt:
    user = {"role": "user", "content": content}
    system = {"role": "system", "content": [{"type": "text", "text": words.system}]}
    messages = (system, user) if words.system else (user,)
    return Prompt(messages=messages, images=tuple(images), key=key)
