"""Does a run that is killed inside one of its threads end as if nothing had happened?

Three threads work beside the run's own: one writes the checkpoint of a step while the next is sampled, some
encode pictures for servers after the first request has left, and some curate several chunks of pictures at
once. Each is killed (`kill -9` to the whole process group, from inside) at a random call or instant within
it, the run is started again, and its files are compared with those of a run that was never killed. The
place of vLLM is taken by a server in this process that answers with the pocket VLM, one request at a time, so
that equal requests get answers that are equal to the bit.

    python -m benchmarks.aimed_kills --kills 3 --seed 0
"""

import argparse
import base64
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.kill_and_resume import NAME, SETTINGS, digests, say
from benchmarks.stub_vllm import StubServer, stub_servers

AIMS = ("encoding", "chunks", "checkpoint")  # in an order in which one run has room for all
CHUNK, PICTURES = 8, 24  # three chunks are under way at once
OWN_SETTINGS = {
    "iterations": 1, "evaluation": {"benchmarks": []}, "votes": {"samples": 3},
    "questioner": SETTINGS["questioner"] | {"steps": 1},
    "curation": {"questions_per_image": 1, "margin": "all"},
    "reasoner": SETTINGS["reasoner"] | {"steps": 4, "prompts_per_step": 2},
}  # fmt: skip


class PocketStub(StubServer):
    """Answers with the pocket VLM; see this file's first lines."""

    def __init__(self) -> None:
        import torch

        from rollouts.chat import Chat
        from rollouts.engine import Prompt
        from rollouts.transformers_engine import TransformersEngine
        from visplay.config.sections import Model
        from visplay.models.policy import load_base

        class AsGiven(Chat):
            """Prompts are texts that are rendered already."""

            opening = ""

            def text(self, prompt: Prompt) -> str:
                return str(prompt.messages[0]["content"])

        torch.set_num_threads(1)
        model, processor = load_base(Model(path="pocket", dtype="float32"))
        self._engine, self._one = TransformersEngine(model, processor), threading.Lock()
        self._engine._chat = AsGiven(processor, config=model.config, generation=model.generation_config)
        super().__init__()

    def _generate(self, body: dict[str, Any], alive: Any) -> tuple[int, Any]:
        from PIL import Image

        from rollouts.engine import AdapterVersion, Prompt, Sampling

        name, asked = body["model"], body["sampling_params"]
        if name != "base" and name not in self.adapters:
            return 404, f"The model `{name}` does not exist."
        urls = [part["url"] for part in body["content_parts"] or []]
        pictures = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) for url in urls]
        tokenizer = self._engine._chat.tokenizer
        text = tokenizer.decode(body["token_ids"], skip_special_tokens=False)
        assert tokenizer(text)["input_ids"] == body["token_ids"], text
        prompt = Prompt(messages=({"role": "user", "content": text},), images=tuple(pictures))
        sampling = Sampling(
            n=asked["n"], temperature=asked["temperature"], top_k=asked["top_k"], seed=asked["seed"],
            max_tokens=asked["max_tokens"], logprobs=asked["logprobs"] is not None,
        )  # fmt: skip
        path = self.adapters[name][0] if name in self.adapters else None
        adapter = AdapterVersion(name=name, version=0, path=path and Path(path))
        with self._one:
            if not alive():
                return 0, None
            self._engine.publish(adapter)
            (group,) = self._engine.generate([prompt], adapter=adapter, sampling=sampling)
        choices = [
            {
                "index": i, "token_ids": c.token_ids, "finish_reason": c.finish_reason,
                "logprobs": {"content": [{"logprob": p} for p in c.logprobs]},
            }
            for i, c in enumerate(group)
        ]  # fmt: skip
        return 200, {"model": name, "choices": choices, "prompt_token_ids": group[0].prompt_ids}


@dataclass(kw_only=True)
class Outcome:
    """Kills inside and beside each thread, killed runs, files that are compared, and which of them differ."""

    inside: Counter[str] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    compared: int = 0
    different: list[str] = field(default_factory=list)


def aimed_kills(folder: Path, *, kills: int, seed: int, aims: Sequence[str] = AIMS) -> Outcome:
    """Make the undisturbed run and one that is killed `kills` times inside each thread; says what it sees.

    A run that ends before it had all its kills is followed by another one.
    """
    from visplay.pocket.truth import write_pictures

    write_pictures(folder / "pictures", count=PICTURES, seed=3, style="dusk")
    lot, outcome = random.Random(seed), Outcome()
    with stub_servers(PocketStub()) as (url,):
        began = time.monotonic()
        code = _run(folder, "undisturbed", url, aim="none", lot=lot)
        assert code == 0, f"the undisturbed run ended with {code}: {_log(folder, 'undisturbed')}"
        say(f"undisturbed: {time.monotonic() - began:.0f} s")
        want = digests(folder / "undisturbed" / NAME)
        while any(outcome.inside[aim] < kills for aim in aims):
            name = f"killed-{outcome.runs}"
            _disturbed(folder, name, url, aims=aims, kills=kills, lot=lot, outcome=outcome)
            got = digests(folder / name / NAME)
            outcome.different += [
                f"{name}/{path}" for path in {**want, **got} if want.get(path) != got.get(path)
            ]
            outcome.runs += 1
        outcome.compared = len(want)
    return outcome


def _disturbed(
    folder: Path, name: str, url: str, *, aims: Sequence[str], kills: int, lot: random.Random,
    outcome: Outcome,
) -> None:  # fmt: skip
    """One run, killed until the threads have had their kills, or until it ends before."""
    while True:
        aim = next((aim for aim in aims if outcome.inside[aim] < kills), "none")
        code = _run(folder, name, url, aim=aim, lot=lot)
        if code == 0:
            return
        assert code == -signal.SIGKILL, f"{name} ended with {code}: {_log(folder, name)}"
        *_, last = (json.loads(line) for line in (folder / f"{name}.kills").read_text().splitlines())
        (outcome.inside if last["inside"] else outcome.beside)[aim] += 1
        say(f"kill of {name}, {'inside' if last['inside'] else 'beside'} {aim}: {last['at']}")


def _run(folder: Path, name: str, url: str, *, aim: str, lot: random.Random) -> int:
    settings = SETTINGS | OWN_SETTINGS | {"engine": {"backend": "server", "urls": [url]}}
    config = folder / f"{name}.yaml"
    images = {"source": str(folder / "pictures")}
    config.write_text(json.dumps(settings | {"name": NAME, "output": str(folder / name), "images": images}))
    seed, log = str(lot.randrange(1 << 30)), str(folder / f"{name}.kills")
    command = [sys.executable, "-m", "benchmarks.aimed_kills", "--run", aim, seed, log, str(config)]
    with (folder / f"{name}.log").open("ab") as file:
        return subprocess.run(command, stdout=file, stderr=file, start_new_session=True).returncode


def _log(folder: Path, name: str) -> str:
    return (folder / f"{name}.log").read_text()[-3000:]


class Aim:
    """Kills its own process group while a thread is inside what `inside` wraps."""

    def __init__(self, seed: int, log: str) -> None:
        self.lot = random.Random(seed)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.within = 0  # threads that are inside
        self._lock = threading.Lock()

    def inside(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, counted while it runs."""

        def counted(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                self.within += 1
            try:
                return work(*arguments, **named)
            finally:
                with self._lock:
                    self.within -= 1

        return counted

    def kill(self, at: str, *, least: int = 1) -> None:
        """The end, noted before."""
        with self._lock:  # nobody leaves in between
            line = json.dumps({"at": at, "inside": self.within >= least})
            os.write(self._log, (line + "\n").encode())
            os.killpg(os.getpgid(0), signal.SIGKILL)

    def kill_after(self, seconds: float, at: str, *, least: int = 1) -> None:
        """The same by another thread, in a while."""

        def wait() -> None:
            time.sleep(seconds)
            self.kill(at, least=least)

        threading.Thread(target=wait, daemon=True).start()


def aim_at_checkpoint(aim: Aim) -> None:
    """At one of the calls that write a checkpoint in the background, up to 4 ms after it began."""
    from visplay.training import learner

    writes, steps = aim.lot.randrange(1, 3), 0
    call = aim.lot.randrange(5)
    there, seen = learner.in_background, threading.local()

    def in_background(work: Callable[[], None]) -> Any:
        nonlocal steps
        steps += 1
        step = steps

        def watched() -> None:
            seen.calls, seen.armed = 0, step == writes
            work()

        return there(aim.inside(watched))

    def at_call(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            if getattr(seen, "armed", False):
                if seen.calls == call:
                    aim.kill_after(aim.lot.uniform(0, 0.004), f"call {call} ({name}) of write {writes}")
                seen.calls += 1
            return work(*arguments, **named)

        return called

    learner.in_background = in_background
    learner.write_part = at_call("write_part", learner.write_part)
    learner.write_adapter = at_call("write_adapter", learner.write_adapter)
    learner.torch.save = at_call("torch.save", learner.torch.save)
    learner.shutil.rmtree = at_call("rmtree", learner.shutil.rmtree)


def aim_at_encoding(aim: Aim) -> None:
    """At a picture that a thread encodes after a request of the same call has left."""
    from rollouts import server_engine
    from rollouts.servers.replica import Replica

    encode, send, generate = server_engine._data_url, Replica.generate, server_engine.ServerEngine.generate
    wanted, sent, seen = aim.lot.randrange(8), 0, 0

    async def sending(*arguments: Any, **named: Any) -> Any:
        nonlocal sent
        sent += 1
        return await send(*arguments, **named)

    def generating(*arguments: Any, **named: Any) -> Any:
        nonlocal sent
        sent = 0
        return generate(*arguments, **named)

    def encoding(image: Any) -> str:
        nonlocal seen
        seen += sent > 0
        if sent and seen > wanted and threading.current_thread() is not threading.main_thread():
            aim.kill(f"encoding {seen}, after {sent} requests of the call")
        return encode(image)

    Replica.generate = sending
    server_engine.ServerEngine.generate = generating
    server_engine._data_url = aim.inside(encoding)


def aim_at_chunks(aim: Aim) -> None:
    """While at least two chunks of pictures are under way, up to two seconds after the second began."""
    from visplay.loop import curation

    there, least, armed = curation._in_order, aim.lot.choice((2, 3)), False

    def in_order(starts: Any, work: Callable[[int], Any], *others: Any) -> Any:
        def watched(start: int) -> Any:
            nonlocal armed
            if aim.within >= least and not armed:
                armed = True
                aim.kill_after(aim.lot.uniform(0, 2.0), f"{least} chunks, {start} last", least=2)
            return work(start)

        return there(starts, aim.inside(watched), *others)

    curation._in_order = in_order


def run(aim: str, seed: str, log: str, config: str) -> None:
    """`visplay train` with the chunks of this file and, perhaps, an end."""
    from visplay.cli import main as cli
    from visplay.loop import curation

    until_enough = curation._until_enough

    def in_small_chunks(*arguments: Any, **named: Any) -> Any:
        return until_enough(*arguments, **named | {"chunk": CHUNK})

    curation._until_enough = in_small_chunks
    aims = {"checkpoint": aim_at_checkpoint, "encoding": aim_at_encoding, "chunks": aim_at_chunks}
    if aim in aims:
        aims[aim](Aim(int(seed), log))
    sys.argv[1:] = ["train", config]
    cli.main()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=3, help="inside each thread")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--aims", default=",".join(AIMS))
    parser.add_argument("--folder", type=Path, help="a new one; kept. Absent: a temporary one")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        run(*asked.run)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = aimed_kills(folder, kills=asked.kills, seed=asked.seed, aims=asked.aims.split(","))
    print("| thread | kills inside it | beside it |\n|---|---|---|")
    for aim in asked.aims.split(","):
        print(f"| {aim} | {outcome.inside[aim]} | {outcome.beside[aim]} |")
    print(f"\n{outcome.runs} killed runs of {outcome.compared} files each; all ended.")
    print(f"Files that differ from the undisturbed run: {outcome.different or 'none'}.")
    raise SystemExit(bool(outcome.different))


if __name__ == "__main__":
    main()
