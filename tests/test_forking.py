"""A worker that is forked off predicts what its parent predicts, whatever went before, and never waits for ever."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")

# In a process of its own: with two threads, and in the state that the moment asks for.
SCRIPT = """
import os, pickle, select, signal, sys, threading
import numpy as np, torch
from sktl import FineTuneClassifier, PretrainedFeatureExtractor

moment, n_forks, *kinds = sys.argv[1:]
torch.set_num_threads(2)
X = np.random.default_rng(0).integers(0, 256, (12, 20, 24, 3), dtype=np.uint8)

def fitted(kind):
    if kind in ("torch", "onnxruntime"):
        return PretrainedFeatureExtractor(engine=kind, cache=False).fit(X)
    depth = kind if kind == "all" else int(kind)
    options = {"max_epochs": 1, "augment": None, "random_state": 0, "cache": depth == 0}
    model = FineTuneClassifier(unfreeze_depth=depth, **options)
    return model.fit(X, np.arange(12) % 3)

def outputs(model):
    return (model.transform if hasattr(model, "transform") else model.predict_proba)(X[:3])

def answer_of_child(model, expected):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"same" if np.array_equal(outputs(model), expected) else b"different")
        os._exit(0)
    os.close(write)
    ready, _, _ = select.select([read], [], [], 60)
    answer = os.read(read, 100).decode() if ready else "none"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return answer

for kind in kinds:
    model = fitted(kind)
    expected = outputs(model)
    model = pickle.loads(pickle.dumps(model))  # as when it is read from a file: nothing was computed with it yet
    torch.ones(1 << 22).sin().sum()  # on both threads
    if moment == "after predict":
        outputs(model)
    done = threading.Event()

    def run():
        while not done.is_set():
            outputs(model)

    beside = threading.Thread(target=run)
    if moment == "beside a thread":
        beside.start()
    print(kind, *(answer_of_child(model, expected) for _ in range(int(n_forks))), flush=True)
    done.set()
    if beside.ident:
        beside.join()
    assert np.array_equal(outputs(model), expected)  # of the parent, still
"""
KINDS = ("torch", "onnxruntime", "0", "1", "all")


def answers(moment, kinds, n_forks):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, moment, str(n_forks), *kinds],
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_a_forked_worker_answers_after_a_model_was_loaded_and_torch_was_used(fresh_store):
    assert answers("after load", ["torch", "1"], 1) == {"torch": "same", "1": "same"}


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "n_forks"), [("after load", 2), ("after predict", 2), ("beside a thread", 20)])
def test_a_forked_worker_predicts_what_its_parent_does(moment, n_forks, fresh_store):
    pytest.importorskip("onnxruntime", reason="comes with the extra 'onnx'")
    assert answers(moment, KINDS, n_forks) == dict.fromkeys(KINDS, " ".join(["same"] * n_forks))
