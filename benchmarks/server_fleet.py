"""A fleet of three servers of which one is ten times slower, against two and three healthy ones.

python benchmarks/server_fleet.py           prints batch times as ratios to two healthy servers

The servers are stubs: they sleep where vLLM computes (benchmarks/stub_vllm.py), so that what is measured is
where work is sent. Two kinds: one that computes all that it has side by side (a GPU with room: a batch takes
as long as its longest completion), and one with room for 32 sequences (a full GPU: as long as the work). The
first batch is the one in which nothing is known of the servers yet.
"""

import statistics
import time

from benchmarks.stub_vllm import StubServer, stub_servers
from rollouts.chat import Chat
from rollouts.engine import BASE, Prompt, Sampling
from rollouts.server_engine import ServerEngine
from visplay.config.sections import Model
from visplay.models.processor import load_processor

POCKET = Model(path="pocket")
GROUPS, SAMPLING, ROUNDS = 64, Sampling(n=8, max_tokens=40), 12
SECONDS = 0.02  # per token of a sequence, at a healthy server
FLEETS = {"two healthy": (1, 1), "three healthy": (1, 1, 1), "two healthy, one ten times slower": (1, 1, 10)}


def batches(fleet: tuple[int, ...], *, sequences: int, chat: Chat, prompts: list[Prompt]) -> list[float]:
    """Seconds of each batch, one after the other."""
    stubs = [StubServer(seconds_per_token=SECONDS * slower, sequences=sequences) for slower in fleet]
    with stub_servers(*stubs) as urls:
        engine, taken = ServerEngine(urls, chat=chat), []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            engine.generate(prompts, adapter=BASE, sampling=SAMPLING)
            taken.append(time.perf_counter() - began)
        engine.close()
    return taken


def main() -> None:
    chat = Chat.load(load_processor(POCKET), POCKET.source)
    prompts = [
        Prompt(
            messages=({"role": "user", "content": [{"type": "text", "text": f"Is {i} even?"}]},), key=str(i)
        )
        for i in range(GROUPS)
    ]
    for room, sequences in (("side by side", 10_000), ("32 sequences at once", 32)):
        taken = {
            name: batches(fleet, sequences=sequences, chat=chat, prompts=prompts)
            for name, fleet in FLEETS.items()
        }
        unit = statistics.median(taken["two healthy"])
        for name, seconds in taken.items():
            later = sorted(second / unit for second in seconds[1:])
            print(
                f"{room:>20} {name:<34} first batch {seconds[0] / unit:5.2f}   later: "
                f"median {statistics.median(later):5.2f}, worst {later[-1]:5.2f}"
            )


if __name__ == "__main__":
    main()
