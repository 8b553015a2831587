"""Does a phase on many ranks train what one process trains, for Qwen2.5-VL with pictures of several sizes?

A tiny Qwen2.5-VL of random weights in float32 on the CPU; completions are rewarded by their first tokens. One
group of completions is split over the ranks.

    python -m benchmarks.ranks_on_qwen --ranks ddp:2 ddp:4 fsdp2:2
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.many_ranks import FSDP2

WORKER = """
import os, sys
from pathlib import Path
import torch
if os.environ.get("ACCELERATE_USE_FSDP") == "true":
    from accelerate.state import DistributedType, PartialState
    PartialState._prepare_backend = lambda self, *a, **k: ("gloo", DistributedType.MULTI_GPU)
from benchmarks.gpu import qwen
from benchmarks.gpu.stand import TINY
from benchmarks.stepping import run_phase
from rollouts.transformers_engine import TransformersEngine
from visplay.config.prompts import Prompts
from visplay.config.sections import Lora, Optimizer, Phase
from visplay.models.policy import Policy
from visplay.pocket.scenes import render, sample_scenes
from visplay.prompts import reasoner_prompt
from visplay.training.learner import Learner
from visplay.training.ranks import joined
from visplay.runs.checkpoints import numbered

def score(groups):
    return [[float(c.token_ids[0] % 7 < 3) for c in group] for group in groups]

folder = Path(sys.argv[1])
torch.set_num_threads(1)
with joined() as ranks:
    processor = qwen.make_processor()
    config = qwen.make_config(processor.tokenizer, text=TINY.text, vision=TINY.vision)
    model = qwen.make_model(config, device="cpu", dtype=torch.float32, seed=0)
    processor.tokenizer.padding_side = "left"
    policy = Policy(model, processor, lora=Lora(rank=8))
    if not ranks.first:
        Learner.follow(policy, ranks)
    else:
        engine = TransformersEngine(policy.shared_base(), processor)
        start = numbered(folder, "shared", 0)
        policy.create_adapter(start, seed=0)
        engine.publish(start)
        sizes = ((112, 84), (56, 140), (168, 112), (84, 84))
        pictures = [render(s).resize(size) for s, size in zip(sample_scenes(4, split="play", seed=0), sizes)]
        asked = [reasoner_prompt(p, "How many?", words=Prompts(), key=str(i)) for i, p in enumerate(pictures)]
        learner = run_phase(
            policy, start=start, engine=engine, prompts=asked * 3, score=score,
            phase=Phase(steps=3, prompts_per_step=1, group_size=4, max_tokens=12), corrected=True,
            optimizer=Optimizer(learning_rate=1e-3, micro_batch_size=1, kl=0.01),
            folder=folder / "unfinished", ranks=ranks,
        )
        ranks.broadcast(None)
        import json
        (folder / "ids.json").write_text(json.dumps(learner.records))
        (folder / "adapter").symlink_to(learner.trained.path)
"""


def run(folder: Path, ranks: str) -> Path:
    """One phase by `one` process, `ddp:W` or `fsdp2:W`; returns its folder."""
    here = folder / ranks.replace(":", "-")
    here.mkdir()
    worker = here / "worker.py"
    worker.write_text(WORKER)
    how, _, size = ranks.partition(":")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", size] if size else []
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }
    environment |= {"PYTHONPATH": os.pathsep.join(["", os.getcwd()]).lstrip(os.pathsep)}
    environment |= FSDP2 if how == "fsdp2" else {}
    done = subprocess.run(
        [sys.executable, *launcher, str(worker), str(here)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return here


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", nargs="+", default=["ddp:2", "ddp:4", "fsdp2:2"], help="ddp:W, fsdp2:W")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        one = run(Path(scratch), "one")
        for ranks in options.ranks:
            other = run(Path(scratch), ranks)
            ours, theirs = (load_file(r / "adapter" / "adapter_model.safetensors") for r in (one, other))
            a, b = (torch.cat([w[k].flatten() for k in sorted(w)]) for w in (ours, theirs))
            equal = (one / "ids.json").read_text() == (other / "ids.json").read_text()
            apart = float((a - b).norm() / a.norm())
            print(
                json.dumps({"ranks": ranks, "completions equal": equal, "adapters apart": apart}), flush=True
            )


if __name__ == "__main__":
    main()
