"""A vLLM server that visplay starts, owns and stops by its handle."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the only sizes that vLLM 0.32 reserves room for
LOOPBACK = "127.0.0.1"
_SECONDS_TO_LEAVE = 20.0


class Server:
    """A process of vLLM's OpenAI-compatible server, on the loopback interface.

    Args:
        model: hub id or folder of the base VLM.
        lora_rank: the rank reserved for adapters, one of vLLM's.
        max_adapters: number of versions that it keeps.
        log: file for its output.
        device: CUDA_VISIBLE_DEVICES of the process; None does not change it.
        options: further arguments of vLLM's engine.
    """

    def __init__(
        self,
        model: str,
        *,
        lora_rank: int,
        max_adapters: int,
        log: Path,
        device: str | None = None,
        options: Mapping[str, Any],
    ) -> None:
        self.url = f"http://{LOOPBACK}:{(port := _free_port())}"
        self.log = log
        # On a CPU every server would bind its threads to the same cores.
        variables = ["VLLM_ALLOW_RUNTIME_LORA_UPDATING=1", "VLLM_CPU_OMP_THREADS_BIND=nobind"]
        variables += [] if device is None else [f"CUDA_VISIBLE_DEVICES={device}"]
        # The `vllm` command of vllm-cpu does not start, because it needs the version of a package named vllm.
        self.command = [
            "env", *variables, sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model,
            "--served-model-name", "base", "--host", LOOPBACK, "--port", str(port), "--api-server-count", "1",
            "--enable-lora", "--max-lora-rank", str(lora_rank), "--max-loras", str(max_adapters),
            "--max-cpu-loras", str(max_adapters), "--logprobs-mode", "processed_logprobs",
            "--enable-scale-out", "--disable-log-stats", "--disable-uvicorn-access-log",
            *flags(options),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = self.deaths = 0

    @property
    def pid(self) -> int | None:
        """The id of the process while it exists."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start or restart the process; an earlier process is ended first."""
        self.deaths += self.died()
        self.stop()
        self.starts += 1
        with self.log.open("ab") as log:
            # A separate session: its child processes can be stopped with it, and Ctrl-C does not reach it.
            self._process = subprocess.Popen(
                tied(self.command),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def running(self) -> bool:
        """Whether the process exists; it may not answer requests."""
        return self._process is not None and self._process.poll() is None

    def died(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        """End the process and its child processes."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_LEAVE)
        with contextlib.suppress(ProcessLookupError):  # its session, which `start` made
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def log_tail(self, *, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


# Variables of torchrun and accelerate for their ranks; a server that read them would join the ranks.
_OF_A_RANK = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "ROLE_NAME", "WORLD_SIZE",
    "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING",
)  # fmt: skip
_OF_A_LAUNCHER = ("TORCHELASTIC_", "ACCELERATE_", "FSDP_")
# Linux signals the end of a parent process; elsewhere a server survives a SIGKILL of its parent.
_TIED = (
    "import ctypes, os, signal, sys\n"
    "getattr(ctypes.CDLL(None), 'prctl', lambda *_: 0)(1, signal.SIGTERM)\n"
    f"for name in [n for n in os.environ if n in {_OF_A_RANK} or n.startswith({_OF_A_LAUNCHER})]:\n"
    "    del os.environ[name]\n"
    "os.execvp(sys.argv[1], sys.argv[1:])\n"
)


def tied(command: Sequence[str]) -> list[str]:
    """Wrap a command so that it gets SIGTERM when the thread that starts it ends (PR_SET_PDEATHSIG).

    The command does not see a launcher's environment variables, such as `RANK` and `MASTER_ADDR`.
    """
    return [sys.executable, "-c", _TIED, *command]


def flags(options: Mapping[str, Any]) -> list[str]:
    """Convert arguments of vLLM's engine to its command line; None is left out."""
    words: list[str] = []
    for key, value in options.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, dict | list):
            words += [f"--{name}", json.dumps(value)]
        elif value is not None:
            words += [f"--{name}", str(value)]
    return words


def server_url(text: str) -> str:
    """Normalize the base URL of a running server: remove surrounding spaces and a final slash.

    Raises:
        ValueError: it is not a valid address.
    """
    text, wrong = text.strip(), ""
    try:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            wrong = "it must look like http://HOST:PORT"
        elif parts.port == 0 or any(c.isspace() for c in text):
            wrong = "no port is 0" if parts.port == 0 else "it holds a space"
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise ValueError(f"a server's address must look like http://HOST:PORT, got {text!r} ({wrong})")
    return text.rstrip("/")


def reserved_rank(rank: int) -> int:
    """The smallest LoRA rank of vLLM that is at least `rank`.

    Raises:
        ValueError: no rank of vLLM is large enough.
    """
    for size in LORA_RANKS:
        if size >= rank:
            return size
    raise ValueError(f"lora.rank must be at most {LORA_RANKS[-1]} with vLLM, got {rank}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
