"""Does a run on many ranks give what one process gives?

The same small run is made by one process and by W of them, under DDP and under FSDP2, on the CPU with gloo.
What was sampled, rewarded, curated and voted on must be equal, row by row; adapters may differ by rounding,
for gradients are added up in another order.

    python -m benchmarks.many_ranks --ranks ddp:2 ddp:4 fsdp2:2
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from visplay.pocket.truth import write_pictures

SETTINGS: dict[str, Any] = {
    "name": "run", "iterations": 2, "threads": 1,
    "model": {"path": "pocket", "dtype": "float32", "device": "cpu"},
    "engine": {"backend": "transformers"},
    "prompts": {"forms": {}},
    "votes": {"samples": 4},
    "questioner": {
        "types": ["numerical", "yes/no", "short answer"], "steps": 2, "prompts_per_step": 2, "group_size": 4,
        "max_tokens": 48,
    },
    "curation": {"questions_per_image": 2},
    "reasoner": {"steps": 2, "prompts_per_step": 2, "group_size": 4, "max_tokens": 96},
    # An update is lr * m / (sqrt(v) + epsilon). With an epsilon of 1e-8 a gradient of rounding size moves a
    # weight by the whole learning rate, one way or the other; with 1e-3 rounding of 1e-8 moves it by 1e-8.
    "optimizer": {
        "learning_rate": 1e-3, "micro_batch_size": 2, "kl": 0.01, "grpo": {"adam_epsilon": 1e-3},
    },
    "evaluation": {"benchmarks": []},
}  # fmt: skip
FILES = ("*/questioner/rollouts.parquet", "*/curation/*.parquet", "*/reasoner/rollouts.parquet")
# accelerate ignores FSDP on CPUs; told that it has GPUs named `cpu`, it cuts the model up there, too.
RUNNER = """
import os, sys
from visplay.cli import main as cli
if os.environ.get("ACCELERATE_USE_FSDP") == "true":
    from accelerate.state import DistributedType, PartialState
    PartialState._prepare_backend = lambda self, *a, **k: ("gloo", DistributedType.MULTI_GPU)
    from torch.distributed.tensor import DTensor
    from visplay.training import learner
    whole = learner.adapter_state
    def seen(model):
        assert any(isinstance(p, DTensor) for p in model.parameters()), "the model is not in pieces"
        return whole(model)
    learner.adapter_state = seen
cli.main()
"""
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true", "ACCELERATE_TORCH_DEVICE": "cpu", "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true", "FSDP_RESHARD_AFTER_FORWARD": "true",
}  # fmt: skip


def launch(
    folder: Path, ranks: str, settings: dict[str, Any], *, log: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start, or resume, a run in `folder`.

    Args:
        folder: of the run's configuration, runner and output.
        ranks: `one`, or `ddp:W` or `fsdp2:W`.
        settings: the configuration, but for its output.
        log: for what it prints; by default `folder/log`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, runner = folder / "config.yaml", folder / "runner.py"
    config.write_text(json.dumps(settings | {"output": str(folder)}))
    runner.write_text(RUNNER)
    how, _, size = ranks.partition(":")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable]
    if size:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", size]
        environment |= FSDP2 if how == "fsdp2" else {}
    with (log or folder / "log").open("ab") as file:
        return subprocess.Popen(
            [*command, str(runner), "train", str(config)], env=environment, stdout=file, stderr=file,
            start_new_session=True,
        )  # fmt: skip


def rows_apart(one: Path, other: Path) -> list[str]:
    """Files whose rows differ; rewards and all."""
    names = sorted(
        {str(p.relative_to(run)) for run in (one, other) for file in FILES for p in run.glob(file)}
    )
    assert names, f"no rows in {one}"
    return [name for name in names if _rows(one / name) != _rows(other / name)]


def _rows(path: Path) -> list[dict[str, Any]] | None:
    return pq.read_table(path).to_pylist() if path.exists() else None


def adapters_apart(one: Path, other: Path, *, learned: bool = False) -> float:
    """The largest relative L2 distance of two runs' adapters; `learned`: of B alone, which begins at 0."""
    apart = 0.0
    for path in sorted(one.glob("iteration-*/*/adapter/adapter_model.safetensors")):
        ours, theirs = load_file(path), load_file(other / path.relative_to(one))
        assert ours.keys() == theirs.keys()
        a, b = (
            torch.cat([w[k].flatten() for k in sorted(w) if "lora_B" in k or not learned])
            for w in (ours, theirs)
        )
        apart = max(apart, float((a - b).norm() / a.norm()))
    return apart


def compare(folder: Path, ranks: list[str], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """One run by one process and one by each of `ranks`; a row each of what differs."""
    found: list[dict[str, Any]] = []
    for how in ["one", *ranks]:
        began = time.perf_counter()
        here = folder / how.replace(":", "-")
        code = launch(here, how, settings).wait()
        assert code == 0, f"{how} ended with {code}: {(here / 'log').read_text()[-4000:]}"
        run, first = here / settings["name"], folder / "one" / settings["name"]
        row: dict[str, Any] = {"ranks": how, "seconds": round(time.perf_counter() - began, 1)}
        row["files that differ"] = rows_apart(first, run)
        row["adapters apart"] = adapters_apart(first, run)
        row["what was learned"] = adapters_apart(first, run, learned=True)
        found.append(row)
        print(json.dumps(found[-1]), flush=True)
    return found


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", nargs="+", default=["ddp:2", "fsdp2:2"], help="ddp:W, fsdp2:W")
    parser.add_argument("--model", help="folder of a VLM; default: the pocket VLM")
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the runs go; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        pictures = folder / "pictures"
        if not pictures.exists():
            write_pictures(pictures, count=24, seed=3, style="dusk")
        settings = SETTINGS | {"iterations": options.iterations, "images": {"source": str(pictures)}}
        if options.model:
            settings["model"] = settings["model"] | {"path": options.model}
        compare(folder, options.ranks, settings)


if __name__ == "__main__":
    main()
