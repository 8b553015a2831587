"""Does a run on two hosts outlive a network that fails for a while?

Three network namespaces of Linux stand for three hosts on one switch: two with a rank each, one with a vLLM
server. The run is made undisturbed, and again with the link of one host cut for a while in the Reasoner's
phase. It must go on, or stop with a reason, and end with what the undisturbed one has. Needs root.

    python -m benchmarks.two_hosts --cut rank1 --seconds 20
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.many_ranks import RUNNER, SETTINGS, adapters_apart, rows_apart
from benchmarks.pocket_server import SERVER_ENVIRONMENT, server_command
from visplay.pocket.truth import write_pictures

HOSTS = {"rank0": "10.77.0.1", "rank1": "10.77.0.2", "server": "10.77.0.3"}
BRIDGE, SERVER_PORT, MASTER_PORT = "visplay-br", 8077, 29577


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def build_hosts(stack: ExitStack) -> None:
    """Namespaces, a bridge between them, addresses; taken down when the stack ends."""
    ip("link", "add", BRIDGE, "type", "bridge")
    stack.callback(subprocess.run, ["ip", "link", "del", BRIDGE])
    ip("link", "set", BRIDGE, "up")
    for host, address in HOSTS.items():
        ip("netns", "add", host)
        stack.callback(subprocess.run, ["ip", "netns", "del", host])
        ip("link", "add", f"v-{host}", "type", "veth", "peer", "name", "eth0", "netns", host)
        ip("link", "set", f"v-{host}", "master", BRIDGE, "up")
        ip("-n", host, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", host, "link", "set", "eth0", "up")
        ip("-n", host, "link", "set", "lo", "up")


def start(host: str, command: list[str], log: Path, **environment: str) -> "subprocess.Popen[bytes]":
    """A program on a host."""
    with log.open("ab") as file:
        return subprocess.Popen(
            ["ip", "netns", "exec", host, *command], stdout=file, stderr=file, start_new_session=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | environment,
        )  # fmt: skip


def start_server(folder: Path) -> "subprocess.Popen[bytes]":
    """vLLM on its host, as docs/engines.md says; returns when it answers rank 0."""
    server = start(
        "server", server_command(HOSTS["server"], SERVER_PORT), folder / "server.log", **SERVER_ENVIRONMENT
    )
    url = f"http://{HOSTS['server']}:{SERVER_PORT}/health"
    health = f"import urllib.request; urllib.request.urlopen({url!r}, timeout=2)"
    deadline = time.monotonic() + 300
    while subprocess.run(
        ["ip", "netns", "exec", "rank0", sys.executable, "-c", health], stderr=-3
    ).returncode:
        assert server.poll() is None and time.monotonic() < deadline, (folder / "server.log").read_text()[
            -3000:
        ]
        time.sleep(1)
    return server


def start_ranks(folder: Path, settings: dict[str, Any]) -> list["subprocess.Popen[bytes]"]:
    """torchrun on each of the two hosts, the same command but for the host's number."""
    folder.mkdir(exist_ok=True)
    config, runner = folder / "config.yaml", folder / "runner.py"
    config.write_text(json.dumps(settings | {"output": str(folder)}))
    runner.write_text(RUNNER)
    launchers = []
    for place, host in enumerate(("rank0", "rank1")):
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node_rank", str(place),
            "--nproc_per_node", "1", "--master_addr", HOSTS["rank0"], "--master_port", str(MASTER_PORT),
            str(runner), "train", str(config),
        ]  # fmt: skip
        launchers.append(start(host, command, folder / f"{host}.log", GLOO_SOCKET_IFNAME="eth0"))
    return launchers


def ended(launchers: list["subprocess.Popen[bytes]"], within: float) -> list[int] | None:
    """Exit statuses; None where they still run when the time is over."""
    deadline = time.monotonic() + within
    while any(launcher.poll() is None for launcher in launchers):
        if time.monotonic() > deadline:
            return None
        time.sleep(0.2)
    return [launcher.wait() for launcher in launchers]


def cut(host: str, seconds: float) -> None:
    """Take a host off the network for a while."""
    ip("link", "set", f"v-{host}", "down")
    time.sleep(seconds)
    ip("link", "set", f"v-{host}", "up")


def main() -> None:
    """Cut, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cut", nargs="+", choices=list(HOSTS), default=["rank1"], help="one run for each")
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_pictures(folder / "pictures", count=24, seed=3, style="dusk")
        settings = SETTINGS | {"iterations": 1, "images": {"source": str(folder / "pictures")}}
        settings["engine"] = {"backend": "server", "urls": [f"http://{HOSTS['server']}:{SERVER_PORT}"]}
        build_hosts(stack)
        stack.callback(start_server(folder).terminate)
        began = time.monotonic()
        statuses = ended(start_ranks(folder / "undisturbed", settings), 900)
        assert statuses == [0, 0], (folder / "undisturbed" / "rank0.log").read_text()[-4000:]
        print(json.dumps({"undisturbed": round(time.monotonic() - began, 1)}), flush=True)
        for host in options.cut:
            print(json.dumps(_disturbed(folder, host, options.seconds, settings)), flush=True)


def _disturbed(folder: Path, host: str, seconds: float, settings: dict[str, Any]) -> dict[str, Any]:
    here = folder / f"cut-{host}"
    launchers = start_ranks(here, settings)
    scratch = here / "run" / "iteration-1" / "reasoner.partial" / "unfinished"
    while not (scratch / "step-1.json").exists():
        assert launchers[0].poll() is None, (here / "rank0.log").read_text()[-4000:]
        time.sleep(0.05)
    cut(host, seconds)
    mended = time.monotonic()
    statuses = ended(launchers, 240)
    row: dict[str, Any] = {"cut": host, "for": seconds, "statuses": statuses}
    row["seconds from the mend to the end"] = round(time.monotonic() - mended, 1)
    said = (here / "rank0.log").read_text().splitlines()
    row["said"] = [line for line in said if line.startswith(("error", "stopped", "left"))]
    if statuses is None:
        for launcher in launchers:
            launcher.terminate()
        ended(launchers, 60)
    if statuses != [0, 0]:
        row["resumed"] = ended(start_ranks(here, settings), 600)
    row["files that differ"] = rows_apart(folder / "undisturbed" / "run", here / "run")
    row["adapters apart"] = adapters_apart(folder / "undisturbed" / "run", here / "run")
    return row


if __name__ == "__main__":
    main()
