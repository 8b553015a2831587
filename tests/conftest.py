"""What libraries read from the environment, set before anything imports them: tests reach no network."""

import gc
import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # whatever else the machine is doing


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-docs", action="store_true", help="write what tests saw into docs/faults.md")


def pytest_collection_finish() -> None:
    """Some libraries collect garbage all the time: torch and the others, imported by now, are none."""
    gc.freeze()
