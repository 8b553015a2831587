"""The loopback endpoint and the task files of the bridge to lmms-eval."""

import base64
import importlib.util
import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from rollouts.engine import AdapterVersion, Prompt, Sampling
from rollouts.scripted_engine import ScriptedEngine
from tests.visplay.evaluation.asked import BASE, items
from visplay.config.prompts import Prompts
from visplay.errors import EvaluationError
from visplay.evaluation.lmms import run_lmms_eval, write_task
from visplay.evaluation.serving import read_request, serving


def picture(shade: int) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def request(shade: int, **values: Any) -> dict[str, Any]:
    content = [picture(shade), {"type": "text", "text": "What?"}]
    return {"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": 50, **values}


def script(prompt: Prompt, adapter: AdapterVersion, sampling: Sampling) -> Sequence[str]:
    if prompt.images[0].getpixel((0, 0)) == (13, 0, 0):
        raise RuntimeError("no room")
    return [f"\\boxed{{{prompt.images[0].getpixel((0, 0))[0]}}}"]


def test_many_requests_at_once_get_each_its_own_answer() -> None:
    engine = ScriptedEngine(script)
    with (
        serving(engine, adapter=BASE, model="m", batch_size=8) as url,
        httpx2.Client(trust_env=False) as client,
    ):

        def ask(shade: int) -> str:
            reply = client.post(f"{url}/chat/completions", json=request(shade)).json()
            return str(reply["choices"][0]["message"]["content"])

        with ThreadPoolExecutor(8) as pool:
            shades = [s for s in range(60) if s != 13]
            assert list(pool.map(ask, shades)) == [f"\\boxed{{{s}}}" for s in shades]
        reply = client.post(f"{url}/chat/completions", json=request(5, max_tokens=3)).json()
        assert reply["choices"][0]["finish_reason"] == "length" and reply["usage"]["completion_tokens"] == 3
        assert client.get(f"{url}/models").json()["data"][0]["id"] == "m"
        assert client.post(f"{url}/chat/completions", json=request(13)).status_code == 500
        assert ask(7) == "\\boxed{7}"  # it goes on after a failure
        for host in ("evil.example", "127.0.0.1", f"127.0.0.1.evil.example:{url.split(':')[2][:-3]}"):
            rebound = {"Host": host}
            assert client.get(f"{url}/models", headers=rebound).status_code == 403
            assert client.post(f"{url}/chat/completions", json=request(5), headers=rebound).status_code == 403
        for wrong in (request(1, model="other"), {"model": "m", "messages": []}, {"model": "m"}):
            assert client.post(f"{url}/chat/completions", json=wrong).status_code == 400
    assert len(engine.calls) < 62  # some were answered together


@pytest.mark.parametrize(
    "url", ["http://example.org/a.png", "file:///etc/passwd", "data:image/png;base64,@@"]
)
def test_nothing_is_fetched(url: str) -> None:
    content = [{"type": "image_url", "image_url": {"url": url}}]
    with pytest.raises(ValueError, match=r"data URI|not base64"):
        read_request({"messages": [{"role": "user", "content": content}]})


def test_task_files_carry_our_prompt_and_scorer(tmp_path: Path) -> None:
    import datasets

    name = write_task(tmp_path, "b", items(4, options=("x", "y")), words=Prompts(), max_tokens=9)
    own = tmp_path / name
    rows = datasets.load_from_disk(str(own / "data"))["test"]
    spec = importlib.util.spec_from_file_location("visplay_task", own / "visplay_task.py")
    assert spec is not None and spec.loader is not None
    task = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(task)
    (message,) = task.messages(rows[1])
    assert [block["type"] for block in message["content"]] == ["image", "text"]
    assert message["content"][0]["url"].getpixel((0, 0)) == (1, 0, 0)
    assert message["content"][1]["text"] == task.text(rows[1])
    assert task.text(rows[1]).startswith("question 1?\nA. x\nB. y\nLook at the image")
    try:
        with ThreadPoolExecutor(4) as pool:  # as lmms-eval does
            found = list(
                pool.map(
                    lambda said: task.process_results(rows[1], [said]), ["\\boxed{A}", "\\boxed{y}", "A"] * 8
                )
            )
    finally:
        task._process.kill()
        task._process.communicate()
    right, wrong, unread = (
        {"visplay_acc": a, "visplay_parsed": p} for a, p in ((1.0, 1.0), (0.0, 1.0), (0.0, 0.0))
    )
    assert found == [right, wrong, unread] * 8
    failed = task.process_results(rows[1], ["[LMMS_EVAL_REQUEST_FAILED after 5 retries] x"])
    assert failed == {"visplay_acc": 0.0, "visplay_parsed": 0.0}
    assert json.loads(rows[1]["target"])["visplay"]["item"] == "q1"
    text = (own / f"{name}.yaml").read_text()
    assert "process_results: !function visplay_task.process_results" in text and "max_new_tokens: 9" in text


def test_a_missing_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no such file; give that of lmms-eval's environment"):
        run_lmms_eval(tmp_path / "python", tasks=["t"], folder=tmp_path, url="http://x", model="m")
