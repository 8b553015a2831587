"""What a VLM's template and processor make of a prompt, seen on a probe before anything is trained.

Templates drop system turns, move pictures, strip lines, add words of their own or name the day; each of it is
a sentence here, for `visplay doctor CONFIG`.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from rollouts.chat import Chat
from rollouts.engine import Prompt
from visplay.config.prompts import Prompts
from visplay.config.sections import Model
from visplay.errors import ConfigError
from visplay.models.processor import load_processor
from visplay.prompts import reasoner_prompt

_FIRST = "Before  two spaces,\n\n 1. a line with {braces}, \\boxed{} and a # ..."
_SECOND = "... after the picture: what is 3 < 4?"
_OTHER_DAYS = (datetime.date(2001, 2, 3), datetime.date(2002, 11, 30))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        verdict: `bad` stops a run, `note` does not.
        what: what was found.
        fix: what to do about it; empty where nothing is.
    """

    verdict: Literal["good", "note", "bad"]
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:4}  {self.what}" + (f"\n      -> {self.fix}" if self.fix else "")


def probe_template(config: Model, picture: Image.Image, words: Prompts) -> Iterator[Finding]:
    """Render probes, and say of each property what was found.

    Args:
        config: the base VLM, with its date.
        picture: one of the run's.
        words: what the roles are told.
    """
    chat = _chat(config)
    if chat is None:
        yield Finding(verdict="bad", what="no chat template", fix="choose an instruction-tuned VLM")
        return
    try:
        two = chat.text(_two_pictures())
        placeholders = _placeholders(chat, two)
    # A template raises what it likes (TypeError on lists, its own raise_exception).
    except Exception as error:
        yield Finding(
            verdict="bad", what=f"the chat template fails on messages with two pictures: {error!r}",
            fix="give the model's folder a chat_template.jinja that takes content as a list of blocks",
        )  # fmt: skip
        return
    yield _said(
        placeholders == 2, f"{placeholders} placeholders for two pictures",
        bad="the template must write one placeholder a picture; see the model's chat_template.jinja",
    )  # fmt: skip
    if placeholders != 2:
        return  # the processor would not take such prompts
    yield from _texts(chat, two)
    yield from _system(chat, words)
    yield _date(config)
    if chat.opening:
        yield Finding(
            verdict="note", what="the template opens <think> itself: completions begin inside it",
            fix="leave room for it in max_tokens, or switch it off by model.chat_template_kwargs",
        )  # fmt: skip
    yield _tokens(chat, picture, words)


def _texts(chat: Chat, two: str) -> Iterator[Finding]:
    verbatim = _FIRST in two and _SECOND in two
    yield _said(
        verbatim, f"texts are {'kept as they are' if verbatim else 'changed'}",
        note="the template changes spaces or lines of a text; what is asked is read so",
    )  # fmt: skip
    places = [two.find(part) for part in (_FIRST.split()[0], _SECOND.split()[-1])]
    kept = 0 <= places[0] < places[1] and _placeholders(chat, two[places[0] : places[1]]) == 2
    yield _said(
        kept, "pictures stand where the messages have them" if kept else "pictures are moved before the text",
        note="questions that name a place between pictures are read otherwise; one picture is not concerned",
    )  # fmt: skip


def _system(chat: Chat, words: Prompts) -> Iterator[Finding]:
    plain = chat.text(reasoner_prompt(Image.new("RGB", (64, 64)), "?", words=Prompts()))
    if words.system:
        said = chat.text(reasoner_prompt(Image.new("RGB", (64, 64)), "?", words=words))
        found = said.count(words.system)
        yield _said(
            found == 1, f"prompts.system stands {found} times in a prompt",
            bad="the template takes no system turn; put its words into prompts.reasoner and .questioner",
        )  # fmt: skip
    elif "system" in plain.partition("?")[0]:  # the question is the first of our words
        yield Finding(
            verdict="note", what="the template writes a system turn of its own, where none is given",
            fix="prompts.system replaces it",
        )  # fmt: skip


def _date(config: Model) -> Finding:
    days = [_chat(config.model_copy(update={"date": day})) for day in _OTHER_DAYS]
    prompt = Prompt(messages=({"role": "user", "content": [{"type": "text", "text": "?"}]},))
    first, second = (chat.text(prompt) if chat else "" for chat in days)
    named = chat.processor.chat_template if (chat := days[0]) else ""
    if "strftime_now" in named:
        return Finding(
            verdict="note", what="the template names today's date in a way that cannot be fixed",
            fix="give the model's folder a chat_template.jinja without it, or prompts differ from day to day",
        )  # fmt: skip
    if first != second:
        return Finding(verdict="good", what="the template names a date: a run's is the day it began")
    return Finding(verdict="good", what="prompts are the same on another day")


def _tokens(chat: Chat, picture: Image.Image, words: Prompts) -> Finding:
    ids = chat.encode([reasoner_prompt(picture, "What is in the picture?", words=words)])["input_ids"][0]
    shown = sum(int(i) in chat.banned for i in ids)
    return Finding(
        verdict="good",
        what=f"{len(ids)} tokens a prompt, of which {shown} for a picture of {picture.width} x "
        f"{picture.height}",
    )


def _two_pictures() -> Prompt:
    image = Image.new("RGB", (64, 64), (90, 90, 90))
    content = [
        {"type": "text", "text": _FIRST}, {"type": "image"}, {"type": "image"},
        {"type": "text", "text": _SECOND},
    ]  # fmt: skip
    return Prompt(messages=({"role": "user", "content": content},), images=(image, image))


def _placeholders(chat: Chat, text: str) -> int:
    ids: list[int] = chat.tokenizer(text)["input_ids"]
    return sum(i in chat.banned for i in ids)


def _chat(config: Model) -> Chat | None:
    processor: Any = load_processor(config)
    options = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
    try:
        return Chat.load(processor, config.source, **options)
    except ValueError:
        return None
    except OSError as error:
        raise ConfigError(f"model.path: no configuration in {config.path!r}: {error}") from error


def _said(good: bool, what: str, *, bad: str = "", note: str = "") -> Finding:
    verdict: Literal["good", "note", "bad"] = "good" if good else "bad" if bad else "note"
    return Finding(verdict=verdict, what=what, fix="" if good else bad or note)
