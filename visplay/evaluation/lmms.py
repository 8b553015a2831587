"""The bridge to lmms-eval: our prompt and scorer as its task files, run in an environment of its own.

lmms-eval is never imported here. It asks an endpoint, ours or any other; what it logs is read by
`visplay.evaluation.sample_logs`.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from visplay.config.prompts import Prompts
from visplay.errors import EvaluationError
from visplay.evaluation.items import Item
from visplay.evaluation.prompts import item_prompt
from visplay.evaluation.sample_logs import read_log
from visplay.storage import write_text

FUNCTIONS = {
    "doc_to_text": "text", "doc_to_visual": "pictures", "doc_to_messages": "messages",
    "process_results": "process_results",
}  # fmt: skip


def write_task(
    folder: Path, benchmark: str, items: Sequence[Item], *, words: Prompts, max_tokens: int
) -> str:
    """Write one benchmark as an lmms-eval task below `folder`; returns the task's name.

    The rows carry prompt, pictures and gold as visplay has them, so that both tools ask the same; the scorer
    is this interpreter, started by the task.
    """
    import datasets

    name = f"visplay_{benchmark}"
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)

    def rows() -> Any:
        for item in items:
            prompt = item_prompt(item, words=words)
            target = {
                "item": item.key, "row": item.row, "cluster": item.cluster, "question": item.question,
                "gold": item.gold.to_json(), "form": words.answer_form,
            }  # fmt: skip
            yield {
                "system": words.system,
                "content": json.dumps(prompt.messages[-1]["content"]),
                "images": list(prompt.images),
                "target": json.dumps({"visplay": target}),
            }

    texts = dict.fromkeys(("system", "content", "target"), datasets.Value("string"))
    columns = texts | {"images": datasets.List(datasets.Image())}
    data = datasets.Dataset.from_list(list(rows()), features=datasets.Features(columns))
    datasets.DatasetDict({"test": data}).save_to_disk(str(own / "data"))
    scorer = [sys.executable, "-m", "visplay.evaluation.score_lines"]
    write_text(own / "scorer.json", json.dumps(scorer))
    source = files("visplay.evaluation").joinpath("lmms_task.py.txt").read_text(encoding="utf-8")
    write_text(own / "visplay_task.py", source)
    write_text(own / f"{name}.yaml", _task_yaml(name, data=own / "data", max_tokens=max_tokens))
    return name


def run_lmms_eval(
    python: Path, *, tasks: Sequence[str], folder: Path, url: str, model: str, concurrent: int = 16
) -> list[Path]:
    """Run lmms-eval on written tasks against an endpoint; returns its sample logs.

    Args:
        python: the interpreter of the environment that lmms-eval is installed in.
        tasks: what `write_task` returned.
        folder: what it wrote to; logs go to `folder/logs`.
        url: OpenAI-compatible endpoint, up to and with `/v1`.
        model: the model's name there.
        concurrent: requests under way at once.

    Raises:
        EvaluationError: there is no lmms-eval there, or it failed; its last lines are in the message.
    """
    if not python.is_file():
        raise EvaluationError(f"--python {python}: no such file; give that of lmms-eval's environment")
    # Its `openai` model reads base_url and key from here; the key is none, the endpoint is on this machine.
    arguments = (
        f"model_version={model},base_url={url},api_key=none,num_concurrent={concurrent},timeout=600,"
        "httpx_trust_env=False"
    )
    command = [
        str(python), "-m", "lmms_eval", "--model", "openai", "--model_args", arguments, "--tasks",
        ",".join(tasks), "--include_path", str(folder.resolve()), "--output_path", str(folder / "logs"),
        "--log_samples", "--batch_size", "1",
    ]  # fmt: skip
    with (folder / "lmms-eval.log").open("w") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    found = [path for task in tasks for path in (folder / "logs").rglob(f"*_samples_{task}.jsonl")]
    if done.returncode or not found:
        last = (folder / "lmms-eval.log").read_text(errors="replace").splitlines()[-15:]
        raise EvaluationError(f"lmms-eval ended with {done.returncode}:\n" + "\n".join(last))
    return sorted(found)


def logged_accuracy(logs: Sequence[Path]) -> dict[str, tuple[float, int]]:
    """Benchmark -> (accuracy over the rows that were answered, their number), from sample logs."""
    figures = {}
    for path in logs:
        records = list(read_log(path))
        scores = [record["score"] for record in records if record["score"] is not None]
        if scores:
            figures[str(records[0]["benchmark"])] = (sum(scores) / len(scores), len(scores))
    return figures


def _task_yaml(name: str, *, data: Path, max_tokens: int) -> str:
    settings = {
        "task": name, "dataset_path": str(data.resolve()), "dataset_kwargs": {"load_from_disk": True},
        "test_split": "test", "output_type": "generate_until", "doc_to_target": "target",
        "generation_kwargs": {"max_new_tokens": max_tokens, "temperature": 0, "do_sample": False},
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True}
            for metric in ("visplay_acc", "visplay_parsed")
        ],
        "metadata": {"version": 1},
    }  # fmt: skip
    functions = "".join(f"{field}: !function visplay_task.{own}\n" for field, own in FUNCTIONS.items())
    return yaml.safe_dump(settings, sort_keys=False) + functions
