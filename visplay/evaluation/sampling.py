"""Ask a benchmark and store every sample; what is stored already is not asked again."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from PIL import Image

from rollouts.engine import (
    AdapterVersion,
    Completion,
    EngineUnavailable,
    Prompt,
    RolloutEngine,
    Sampling,
    image_id,
)
from visplay.config.prompts import Prompts
from visplay.errors import AdapterMismatch, EngineError
from visplay.evaluation.items import Item
from visplay.evaluation.prompts import item_prompt
from visplay.evaluation.records import (
    Record,
    generation_key,
    new_record,
    read_answers,
    scored,
    stored_answer,
    write_records,
)
from visplay.models.generation import generate
from visplay.progress import Advance
from visplay.seeds import mix_seed
from visplay.storage import append_jsonl

THUMBNAIL = 240  # pixels of the longer side of a kept picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoner:
    """Who answers.

    Attributes:
        engine: with `adapter` published.
        adapter: which version answers.
        model_digest: tells the base VLM from every other.
        adapter_digest: tells the adapter's weights from every other; empty for the base alone.
        backend: the engine's name; engines round differently, so their samples are not mixed.
        words: what it is told, and so where its answer is read.
        chunk: items asked at once; part of what decides a completion to the last bit.
    """

    engine: RolloutEngine
    adapter: AdapterVersion
    model_digest: str
    adapter_digest: str
    backend: str
    words: Prompts = field(default_factory=Prompts)
    chunk: int = 64


def evaluate_items(
    reasoner: Reasoner,
    items: Sequence[Item],
    *,
    benchmark: str,
    sampling: Sampling,
    path: Path,
    pictures: Path | None = None,
    advance: Advance = lambda note, count=1, tokens=0: None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Record]:
    """Ask every item `sampling.n` times and write `path`, one line a sample, in the order of the items.

    A chunk of items is asked as a whole or not at all, so that an evaluation which was interrupted writes
    the same file as one which was not. A chunk that the engine failed on is asked item by item; an item that
    fails again is stored with the status `engine_error` and asked anew next time.

    Args:
        reasoner: who answers.
        items: what is asked.
        benchmark: the benchmark's id.
        sampling: how; its seed is mixed with each chunk's place.
        path: the file of samples. Beside it `.answers` is only appended to: no answer is lost by an
            evaluation of fewer items or with other settings.
        pictures: folder for a small copy of each picture, for the pages that show them.
        advance: told of each chunk and its items.
        say: told where stored samples are damaged; they are asked again.

    Raises:
        EngineUnavailable: nothing answers any more.
        EngineError: the engine failed on every item of a chunk: it is the engine, not the items.
        AdapterMismatch: it answered with other weights than it was asked for.
    """
    store = path.with_suffix(".answers")
    stored, damaged = read_answers(store)
    if damaged:
        say(f"{store}: {damaged} damaged samples are asked again")
    records: list[Record] = []
    asked: Counter[str] = Counter()
    for start in range(0, len(items), reasoner.chunk):
        chunk = items[start : start + reasoner.chunk]
        prompts = [item_prompt(item, words=reasoner.words) for item in chunk]
        blank = _blank(
            reasoner, chunk, prompts, benchmark=benchmark, sampling=sampling, pictures=pictures, asked=asked
        )
        if all(record["generation"] in stored for record in blank):
            # Gold, groups and words are the benchmark's as it is now; only the completion is taken over.
            done = [scored(record | stored[record["generation"]]) for record in blank]
            tokens = 0
        else:
            own = replace(sampling, seed=mix_seed(sampling.seed, benchmark, start))
            answers = _ask(reasoner, prompts, own)
            done = [scored(_answered(r, a)) for r, a in zip(blank, answers, strict=True)]
            append_jsonl(store, *(stored_answer(record) for record in done if record["output"] is not None))
            tokens = sum(record["tokens"] for record in done)
        records += done
        advance("questions", len(chunk), tokens)
    write_records(path, records)
    return records


def _blank(
    reasoner: Reasoner, items: Sequence[Item], prompts: Sequence[Prompt], *, benchmark: str,
    sampling: Sampling, pictures: Path | None, asked: Counter[str],
) -> list[Record]:  # fmt: skip
    """The samples of items before they are answered; `asked` counts the prompts so far.

    Two items of one prompt have samples of their own: a stored one is never taken for both.
    """
    made = []
    for item, prompt in zip(items, prompts, strict=True):
        digests = [image_id(image) for image in prompt.images]
        if pictures is not None:
            for digest, image in zip(digests, prompt.images, strict=True):
                _keep(image, pictures / f"{digest}.png")
        key = partial(
            generation_key, prompt, pictures=digests, model=reasoner.model_digest,
            adapter=reasoner.adapter_digest, engine=reasoner.backend, sampling=sampling,
        )  # fmt: skip
        same = key(sample=0)
        for sample in range(sampling.n):
            generation = key(sample=asked[same] * sampling.n + sample)
            blank = new_record(
                item, prompt, benchmark=benchmark, generation=generation, sample=sample, pictures=digests,
                form=reasoner.words.answer_form,
            )  # fmt: skip
            made.append(blank)
        asked[same] += 1
    return made


def _ask(reasoner: Reasoner, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion | str]:
    """[prompts * n] completions, or what the engine said in place of one."""
    answers: dict[int, list[Completion] | str] = {}
    for with_pictures in (True, False):  # apart, because processors take no mixture
        group = [i for i, prompt in enumerate(prompts) if bool(prompt.images) is with_pictures]
        if not group:
            continue
        own = [prompts[i] for i in group]
        try:
            groups: Sequence[list[Completion] | str] = generate(
                reasoner.engine, own, adapter=reasoner.adapter, sampling=sampling
            )
        except (AdapterMismatch, EngineUnavailable):
            raise
        # Engines raise what their backend raises: out of memory, a picture too large. None of it is the
        # model's answer, and one bad item must not take its neighbours along.
        except Exception:
            groups = [_alone(reasoner, prompt, sampling) for prompt in own]
        answers |= dict(zip(group, groups, strict=True))
    failures = [answer for answer in answers.values() if isinstance(answer, str)]
    if len(failures) == len(prompts):
        raise EngineError(
            f"the engine failed on each of {len(prompts)} prompts; the last one: {failures[-1]}"
        )
    listed: list[Completion | str] = []
    for i in range(len(prompts)):
        answer = answers[i]
        listed += [answer] * sampling.n if isinstance(answer, str) else answer
    return listed


def _alone(reasoner: Reasoner, prompt: Prompt, sampling: Sampling) -> list[Completion] | str:
    try:
        return generate(reasoner.engine, [prompt], adapter=reasoner.adapter, sampling=sampling)[0]
    except (AdapterMismatch, EngineUnavailable):
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:500]


def _answered(record: Record, answer: Completion | str) -> Record:
    if isinstance(answer, str):
        return {**record, "error": answer}
    said = {"output": answer.text, "finish": answer.finish_reason, "tokens": len(answer.token_ids)}
    return record | said


def _keep(image: Image.Image, path: Path) -> None:
    """A small copy, once; the name is the picture's own digest."""
    if path.exists():
        return
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    scratch = path.with_suffix(".partial")
    small.save(scratch, format="PNG")
    scratch.replace(path)
