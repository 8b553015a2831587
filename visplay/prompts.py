"""Build the prompts of both roles as chat messages from the templates in the section `prompts`."""

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
    """Ask the Reasoner to answer `question` about `image`, in the form of its type."""
    return _image_then_text(image, reasoner_text(question, kind, words), words=words, key=key)


def canary_prompt(image: Image.Image, words: Prompts) -> Prompt:
    """The prompt of the canary tests before the first step, about one of the run's pictures."""
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
    """Ask the Reasoner a benchmark's question with the prompt template of training.

    Args:
        images: the pictures; a single one comes first, as in training.
        question: may name several pictures as `<image 1>`, `<image 2>`. Each is inserted at its first
            mention; pictures that are not mentioned come before the text.
        words: the prompt template of the Reasoner.
        options: texts of the options, A first, which may mention pictures, too.
        kind: the question's type, which determines the answer's form; empty for any.
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
    """A question with its options below it, one per line, lettered from A."""
    return "\n".join([question, *(f"{option_label(i)}. {option}" for i, option in enumerate(options))])


def reasoner_text(question: str, kind: str, words: Prompts) -> str:
    """The text of the Reasoner's prompt for a question of a type, from this template."""
    form = words.form_of(kind)
    return _filled(words.reasoner, question=question, form=f", {form}," if form else "")


def _described(kind: str, words: Prompts) -> str:
    """A question type with the content of its question and the form of its answer."""
    form = words.form_of(kind)
    if not form:
        return kind
    options = "with options A, B and so on in the question, " if kind == "multiple choice" else ""
    return f"{kind} ({options}answered by {form})"


def _filled(template: str, **values: str) -> str:
    """Replace each `{name}` in a template in one pass; values are not expanded, other braces are kept."""
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
