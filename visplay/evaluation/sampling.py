"""Ask a benchmark and store every sample; stored samples are not asked again."""

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

THUMBNAIL = 240  # pixels of the longer side of a stored picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoner:
    """A Reasoner in an engine.

    Attributes:
        engine: an engine to which `adapter` is published.
        adapter: the adapter version that answers.
        model_digest: identifies the base VLM.
        adapter_digest: identifies the adapter's weights; empty for the base alone.
        backend: the engine's name; engines round differently, so their samples are not mixed.
        words: the Reasoner's prompt template, which also defines where its answer is read.
        chunk: items asked at once; it can change the last bits of a completion.
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
    """Ask every item `sampling.n` times and write `path`, one line per sample, in the order of the items.

    A chunk of items is asked as a whole, so that an interrupted evaluation writes the same file as an
    uninterrupted one. If the engine fails on a chunk, its items are asked one by one. An item that fails
    again is stored with the status `engine_error` and asked again next time.

    Args:
        reasoner: the Reasoner that answers.
        items: the items to ask.
        benchmark: the benchmark's id.
        sampling: the sampling settings; the seed is combined with each chunk's position.
        path: the file of samples. The file `.answers` beside it is only appended to, so that an evaluation
            of fewer items or with other settings loses no answer.
        pictures: folder for a small copy of each picture, which pages show.
        advance: called with each chunk's description and number of items.
        say: called if stored samples are damaged; they are asked again.

    Raises:
        EngineUnavailable: the engine no longer answers.
        EngineError: the engine failed on every item of a chunk, so the engine is at fault, not the items.
        AdapterMismatch: the engine answered with another adapter than requested.
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
            # Gold, groups and text are the benchmark's current ones; only the completion is reused.
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

    Two items with equal prompts get separate samples: a stored one is never used for both.
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
    """The completions, [prompts * n], or the engine's error message in place of one."""
    answers: dict[int, list[Completion] | str] = {}
    for with_pictures in (True, False):  # separately, because processors accept no mixture
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
        # Engines raise their backend's errors: out of memory, a picture too large. Such an error is not the
        # model's answer, and one bad item must not fail the other items of its chunk.
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
    """Store a small copy once, named by the picture's digest."""
    if path.exists():
        return
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    scratch = path.with_suffix(".partial")
    small.save(scratch, format="PNG")
    scratch.replace(path)
