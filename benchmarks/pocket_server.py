"""A vLLM server of the pocket VLM, started as docs/engines.md says."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from visplay.config.sections import Model

SERVER_ENVIRONMENT = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}


def server_command(host: str, port: int) -> list[str]:
    """The command line; its log-probs are those of what it samples from."""
    return [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", Model(path="pocket").source,
        "--served-model-name", "base", "--enable-scale-out",
        "--enable-lora", "--max-lora-rank", "16", "--max-loras", "3", "--max-cpu-loras", "3",
        "--dtype", "float32", "--logprobs-mode", "processed_logprobs", "--api-server-count", "1",
        "--enforce-eager", "--no-enable-chunked-prefill", "--kv-cache-memory-bytes", str(1 << 30),
        "--host", host, "--port", str(port),
    ]  # fmt: skip


def start_server(port: int, log: Path) -> "subprocess.Popen[bytes]":
    """One on the loopback interface, in a process group of its own; does not wait until it answers."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | SERVER_ENVIRONMENT
    with log.open("ab") as file:
        return subprocess.Popen(
            server_command("127.0.0.1", port),
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
        )


def wait_for(port: int, server: "subprocess.Popen[bytes]", seconds: float = 300) -> None:
    """Until it answers.

    Raises:
        RuntimeError: it ended, or did not answer in time.
    """
    deadline = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise RuntimeError(f"no vLLM server at port {port} after {seconds:.0f} s")
