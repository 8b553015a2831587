"""How a command ends, by the errors and signals themselves."""

import errno
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rollouts.engine import EngineUnavailable
from tests.visplay.loop.faulty import settings
from tests.visplay.started import Started
from visplay.errors import AdapterMismatch, RunLocked, VisplayError
from visplay.runs.shutdown import graceful_shutdown

AGAIN = "visplay train x.yaml"


def raised(action: Callable[[], object]) -> str:
    with pytest.raises(VisplayError) as caught, graceful_shutdown(AGAIN, say=print):
        action()
    return str(caught.value)


def fail(error: BaseException) -> Callable[[], object]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_by_its_number(number: int) -> None:
    said = raised(fail(OSError(number, "whatever it is called", "a/b")))
    assert said.startswith("the disk is full (") and "a/b" in said and said.endswith(f"resume with: {AGAIN}")


def test_a_full_disk_as_libraries_say_it(tmp_path: Path) -> None:
    """Each in a process of its own, whose files may not grow: the libraries' own errors."""
    program = (
        "import resource, shutil, sys, torch\n"
        "from safetensors.torch import save_file\n"
        "from visplay.runs.shutdown import graceful_shutdown\n"
        "open('source', 'wb').write(b'x' * 10000)\n"
        "weights = {'a': torch.zeros(10000)}\n"
        "write = {'torch': lambda: torch.save(weights, 'w.pt'),\n"
        "         'safetensors': lambda: save_file(weights, 'w.safetensors'),\n"
        "         'copy': lambda: shutil.copytree('.', 'copy')}\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "for name, action in write.items():\n"
        "    try:\n"
        "        with graceful_shutdown('again', say=print): action()\n"
        "    except Exception as error: print(name, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True,
                          check=True)  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["torch", "safetensors", "copy"]
    assert all(" the disk is full (" in line and line.endswith("resume with: again") for line in lines), lines


def test_closed_and_failing_disks_lost_engines_and_memory() -> None:
    assert raised(fail(OSError(errno.EROFS, "Read-only file system", "run/lock"))).startswith(
        "a file cannot be written or read ([Errno 30] Read-only file system: 'run/lock'); fix that, then"
    )
    assert raised(fail(PermissionError(errno.EACCES, "Permission denied", "run"))).startswith("a file cannot")
    assert raised(fail(OSError(errno.EIO, "Input/output error"))).startswith("the disk failed")
    lost = raised(fail(EngineUnavailable("http://a answers no more")))
    assert lost.startswith(
        "http://a answers no more; what is done is kept; when the engine answers again, resume"
    )
    assert raised(fail(MemoryError())).startswith("out of memory: add a smaller optimizer.micro_batch_size=N")
    assert raised(lambda: torch.empty(1 << 50)).startswith(
        "out of memory: add a smaller optimizer.micro_batch_size=N"
    )


@pytest.mark.parametrize(
    "error",
    [RunLocked("another process"), AdapterMismatch("asked a, got b"), KeyError("no space left"),
     ValueError("out of memory"), RuntimeError("CUDA error")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_nobody_can_mend_so_and_what_says_it_itself_stays_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, graceful_shutdown(AGAIN, say=print):
        raise error
    assert caught.value is error


def test_an_error_is_named_by_its_cause() -> None:
    def action() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("could not save") from error

    assert raised(action).startswith("the disk is full")


HEAD = (
    "import time\nfrom visplay.runs.shutdown import graceful_shutdown\n"
    "with graceful_shutdown('again', say=lambda text: print(text, flush=True)):\n"
    "    print('ready', flush=True)\n"
)
STOPPED = "stopped; all finished steps are kept; resume with: again"
BODIES = {
    "python": "    while True: time.sleep(0.01)\n",
    "in a library": (  # that makes an error of its own of whatever is raised in it
        "    from typing import Annotated; from pydantic import PlainSerializer, TypeAdapter\n"
        "    slow = Annotated[int, PlainSerializer(lambda one: time.sleep(600))]\n"
        "    TypeAdapter(slow).dump_python(1)\n"
    ),
    "slow to leave": "    try:\n        time.sleep(600)\n    finally:\n        time.sleep(600)\n",
}


@pytest.mark.parametrize(
    ("body", "signals", "code", "says"),
    [
        ("python", [signal.SIGTERM], 128 + signal.SIGTERM, STOPPED),
        ("python", [signal.SIGINT], 128 + signal.SIGINT, STOPPED),
        ("in a library", [signal.SIGINT], 128 + signal.SIGINT, STOPPED),
        ("slow to leave", [signal.SIGINT, signal.SIGINT], -signal.SIGINT, ""),
    ],
)
def test_signals(body: str, signals: list[int], code: int, says: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + BODIES[body]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    asked = time.monotonic()
    for number in signals:
        time.sleep(0.3)
        process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert time.monotonic() - asked < 5.6
    assert says in said and process.returncode == code


def interrupted(arguments: list[str], sign: Path, folder: Path) -> str:
    """What a command says on Ctrl-C as soon as a file is there; it has ten seconds to leave."""
    command = Started(arguments, folder)
    command.wait_for(sign)
    asked = time.monotonic()
    code, _, said = command.end(signal.SIGINT)
    assert code == 128 + signal.SIGINT and time.monotonic() - asked < 10, said
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


@pytest.mark.slow
def test_training_and_evaluation_leave_on_ctrl_c(scenes: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    config = settings(scenes, tmp_path, name="begun")
    file.write_text(json.dumps(config.model_dump(mode="json")))
    # As the models are loaded, before the first step.
    said = interrupted(["train", str(file)], config.folder / "versions.json", tmp_path / "said")
    assert said == f"stopped; all finished steps are kept; resume with: visplay train {file}"
    out = tmp_path / "evaluation"
    asked = ["evaluate", "pocket", "-b", "pocket-dusk", "--limit", "500", "--out", str(out)]
    said = interrupted(asked, out / "pocket-dusk" / "greedy.answers", tmp_path / "said")
    assert said == f"stopped; all finished steps are kept; resume with: visplay {' '.join(asked)}"
