import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from rewards import MathWorker, vote

HANGS = "9^{9^{9^9}}"


@pytest.fixture
def worker():
    made = MathWorker(deadline=1.0)
    yield made
    made.stop()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_starts_when_first_asked_and_stops_by_its_handle(worker):
    assert worker.pid is None
    assert worker(r"\sqrt{8}", r"2\sqrt{2}") is True
    pid = worker.pid
    assert alive(pid)
    worker.stop()
    assert not alive(pid)
    assert worker.pid is None


def test_a_hanging_pair_is_cut_off_and_the_worker_replaced(worker):
    assert worker("1/2", "0.5") is True
    first = worker.pid
    start = time.monotonic()
    assert worker(HANGS, "1") is None
    assert 0.9 < time.monotonic() - start < 2.0
    assert not alive(first)
    assert worker.pid not in (None, first)
    assert worker(r"\frac{2}{4}", "0.5") is True
    assert worker.starts == 2


def test_a_text_that_hung_the_parser_is_not_tried_again(worker):
    worker("1/2", "0.5")
    assert worker(HANGS, "1") is None
    start = time.monotonic()
    assert worker(HANGS, "2") is None
    assert worker("3", HANGS) is None
    assert time.monotonic() - start < 0.1
    assert worker.starts == 2
    assert worker("1", "2-1") is True, "the partner of a text that hung is not blamed"


def test_verdicts_are_remembered_and_symmetric(worker):
    assert worker("x=5", "5") is True
    assert worker("5", "x=5") is True
    pid = worker.pid
    worker.stop()
    assert worker(r"2\sqrt{4}", r"\sqrt{16}") is True
    assert worker.pid not in (None, pid)
    worker.stop()
    assert worker("x=5", "5") is True
    assert worker(r"\sqrt{16}", r"2\sqrt{4}") is True
    assert worker.pid is None, "answered from memory, in either order"


@pytest.mark.slow
def test_threads_share_one_worker(worker):
    verdicts = {}

    def ask(number):
        verdicts[number] = worker(f"{number}+{number}", str(2 * number))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert verdicts == dict.fromkeys(range(1, 9), True)
    assert worker.starts == 1


def test_a_worker_that_cannot_start_leaves_text_comparison():
    with pytest.warns(UserWarning, match="math-verify could not be started"):
        worker = MathWorker(start_deadline=0.0)
        assert worker(r"\sqrt{4}", "2") is None
    assert worker(r"\sqrt{9}", "3") is None
    assert worker.starts == 1


@pytest.mark.slow
def test_a_killed_worker_is_replaced(worker):
    assert worker("1/2", "0.5") is True
    killed = worker.pid
    os.kill(killed, signal.SIGKILL)
    worker._process.wait(timeout=10)
    assert worker("2/4", "0.5") is True
    assert worker.pid != killed


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


def test_plain_answers_start_no_process():
    program = """
import rewards
from rewards.answers.math_worker import shared_worker
rewards.vote(["7", "8", "red", "yes", "B", "1/2", "3 dogs", "5 cm", "half", "1, 2", None] * 5)
rewards.vote(["A", "cat"], options=["cat", "dog"])
print(shared_worker().starts)
"""
    done = run(program)
    assert done.stdout.strip() == "0", done.stderr


@pytest.mark.slow
def test_the_worker_ends_with_the_interpreter():
    program = r"""
import rewards
from rewards.answers.math_worker import shared_worker
assert rewards.equivalent(r"\sqrt{4}", "2").equal
print(shared_worker().pid)
"""
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert not alive(int(done.stdout))


@pytest.mark.slow
def test_the_worker_ends_when_its_parent_is_killed():
    program = r"""
import os, signal, rewards
from rewards.answers.math_worker import shared_worker
assert rewards.equivalent(r"\sqrt{4}", "2").equal
print(shared_worker().pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    pid = int(run(program).stdout)
    for _ in range(50):
        if not alive(pid):
            break
        time.sleep(0.1)
    assert not alive(pid)


@pytest.mark.slow
def test_after_a_fork_the_child_has_a_worker_of_its_own():
    program = r"""
import os, rewards
from rewards.answers.math_worker import shared_worker
assert rewards.equivalent(r"\sqrt{4}", "2").equal
parent = shared_worker().pid
child = os.fork()
if child == 0:
    ok = rewards.equivalent(r"\sqrt{9}", "3").equal and shared_worker().pid != parent
    shared_worker().stop()
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
assert rewards.equivalent(r"\sqrt{16}", "4").equal
assert shared_worker().pid == parent
"""
    done = run(program)
    assert done.returncode == 0, done.stderr


def test_rewards_imports_no_heavy_package():
    done = run("import rewards, sys; print(sorted({'torch', 'sympy', 'sklearn', 'nltk'} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stderr


def test_a_vote_with_mathematics():
    found = vote([r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", "sqrt(2)/2", "0.5", None])
    assert found.confidence == pytest.approx(0.6)
