"""Blocks of one fixed shape: the row of an image does not know its neighbours, and a lack of memory is survived."""

import platform
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from sktl.exceptions import ImageReadError
from sktl.images import as_images
from sktl.inference import Placement, _blocks, block_rows, map_images, resolve_placement, run_in_blocks

CPU = resolve_placement("cpu", "float32")


class Identity:
    """Preprocessing that leaves small square images as they are."""

    crop_size = 8

    def prepare(self, image):
        return np.ascontiguousarray(image.transpose(2, 0, 1))


def pictures(n_images, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n_images, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("n_images", [1, 3, 4, 5, 11])
def test_every_call_of_the_network_sees_the_same_number_of_rows(n_images):
    seen = []

    def function(block):
        seen.append(len(block))
        return block.float().mean((2, 3))

    batch = torch.from_numpy(pictures(n_images).transpose(0, 3, 1, 2).copy())
    outputs = run_in_blocks(function, batch, CPU, rows=4)
    assert set(seen) == {4}
    assert len(seen) == -(-n_images // 4)
    np.testing.assert_array_equal(outputs, batch.float().mean((2, 3)))


def test_outputs_may_take_part_in_training():
    outputs = run_in_blocks(lambda block: block * 2, torch.ones(3, 2), CPU, rows=2)
    (outputs @ torch.ones(2, 1, requires_grad=True)).sum().backward()
    assert not outputs.is_inference()


def test_rows_on_the_cpu_depend_on_the_image_size_alone():
    cpu = torch.device("cpu")
    assert block_rows(224, cpu, 1) == block_rows(224, cpu, 512) == 4
    assert block_rows(48, cpu, 1) == 16
    assert block_rows(600, cpu, 32) == 4


def test_rows_of_accelerators_are_those_of_the_batch_and_apples_take_one_thread():
    assert block_rows(224, torch.device("cuda"), 7) == block_rows(600, torch.device("mps"), 7) == 7
    with _blocks._computing_threads(torch.device("mps"), alone=False) as (pool, n_threads):
        assert n_threads == 1
        assert pool._max_workers == 1


def test_out_of_memory_halves_the_block_and_is_remembered(monkeypatch):
    monkeypatch.setattr(_blocks, "_rows_that_fit", {})
    seen = []

    def function(block):
        seen.append(len(block))
        if len(block) > 2:
            raise torch.OutOfMemoryError("too large")
        return block

    batch = torch.arange(10.0)[:, None]
    np.testing.assert_array_equal(run_in_blocks(function, batch, CPU, rows=8, key="net"), batch)
    assert seen == [8, 4, 2, 2, 2, 2, 2]
    seen.clear()
    run_in_blocks(function, batch, CPU, rows=8, key="net")
    assert set(seen) == {2}


def test_out_of_memory_with_a_single_image_is_raised():
    def function(block):
        raise torch.OutOfMemoryError("too large")

    with pytest.raises(torch.OutOfMemoryError):
        run_in_blocks(function, torch.ones(3, 1), CPU, rows=2, key="too small a device")


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
@pytest.mark.parametrize("n_jobs", [None, 3])
def test_images_come_out_in_order(batch_size, n_jobs):
    X = pictures(9)
    batches = map_images(
        lambda block: block.float().mean((2, 3)), as_images(X), Identity(), CPU, batch_size=batch_size, n_jobs=n_jobs
    )
    outputs = np.concatenate(list(batches))
    np.testing.assert_allclose(outputs, X.mean((1, 2)), rtol=1e-5)


def test_an_unreadable_image_stops_the_work_with_its_index():
    items = [*pictures(5), b"not an image", *pictures(2)]
    with pytest.raises(ImageReadError, match="image 5") as caught:
        list(map_images(lambda block: block, as_images(items), Identity(), CPU, batch_size=2, n_jobs=2))
    assert caught.value.index == 5


def test_bytes_and_floats_in_one_batch_keep_their_brightness():
    X = pictures(2)
    items = [X[0], X[1] / np.float32(255)]
    found = map_images(
        lambda block: (block / 255 if block.dtype == torch.uint8 else block).mean((2, 3)),
        as_images(items),
        Identity(),
        CPU,
        batch_size=2,
    )
    outputs = np.concatenate(list(found))
    np.testing.assert_allclose(outputs, X.mean((1, 2)) / 255, rtol=1e-5)


def test_reading_runs_only_a_bounded_number_of_blocks_ahead():
    read = []

    class Counting(Identity):
        def prepare(self, image):
            read.append(1)
            return super().prepare(image)

    rows = block_rows(Identity.crop_size, CPU.device, 5)
    blocks = map_images(lambda block: block, as_images(pictures(500)), Counting(), CPU, batch_size=5, n_jobs=2)
    next(blocks)
    assert len(read) <= 8 * rows < 500
    blocks.close()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_each_block_has_one_thread_and_the_usual_number_is_back_afterwards(n_threads):
    usual = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        seen = []

        def function(block):
            seen.append((torch.get_num_threads(), threading.current_thread().name))
            return block

        run_in_blocks(function, torch.ones(40, 2), CPU, rows=2)
        assert {number for number, _ in seen} == {1}
        assert len({name for _, name in seen}) <= n_threads
        assert torch.get_num_threads() == n_threads
        with pytest.raises(ZeroDivisionError):
            run_in_blocks(lambda block: 1 / 0, torch.ones(4, 2), CPU, rows=2)
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(usual)


def test_calls_from_several_threads_leave_the_usual_number_of_threads():
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(4) as pool:
            batches = [torch.full((50, 3), float(i)) for i in range(12)]
            found = list(pool.map(lambda batch: run_in_blocks(torch.sin, batch, CPU, rows=4), batches))
        for batch, outputs in zip(batches, found, strict=True):
            torch.testing.assert_close(outputs, torch.sin(batch))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(usual)


class FakeStream:
    """A CUDA stream that notes for which other streams it waits."""

    def __init__(self, device):
        self.device, self.waited_for = device, []

    def wait_stream(self, other):
        self.waited_for.append(other)


def test_on_cuda_each_thread_has_a_stream_of_its_own_that_waits_for_the_one_of_the_caller(monkeypatch):
    callers, taken = FakeStream("cuda:0"), {}
    monkeypatch.setattr(_blocks, "_streams", {})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: callers)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: taken.update({threading.get_ident(): stream}))
    both = threading.Barrier(2)
    with _blocks._computing_threads(torch.device("cuda:0"), alone=False) as (pool, n_threads):
        list(pool.map(lambda _: both.wait(10), range(n_threads)))
    assert len({id(stream) for stream in taken.values()}) == len(taken) == n_threads == 2
    assert all(stream.waited_for == [callers] for stream in taken.values())


@pytest.mark.parametrize("users", ["tf32", "ieee", "none"])
def test_convolutions_on_cuda_keep_all_bits_of_float32_and_the_setting_of_the_user_is_back(monkeypatch, users):
    own = torch.backends.cudnn.conv
    usual, seen = own.fp32_precision, []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    try:
        own.fp32_precision = users
        run_in_blocks(lambda block: seen.append(own.fp32_precision) or block, torch.ones(3, 1), CPU, rows=2)
        assert own.fp32_precision == users
    finally:
        own.fp32_precision = usual
    assert set(seen) == {"ieee"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_no_thread_is_given_weights_that_another_one_has_yet_to_cast(dtype):
    """Autocast has one cache for all threads: what is cast on one CUDA stream may not be there yet for another."""
    weights, seen = torch.nn.Parameter(torch.ones(2, 2)), []
    placement = Placement(torch.device("cpu"), dtype)

    def other():
        with placement.autocast():
            seen.append(torch.nn.functional.linear(torch.ones(1, 2), weights))

    with placement.autocast():
        torch.nn.functional.linear(torch.ones(1, 2), weights)
        weights.data.fill_(5.0)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen[0].tolist() == [[10.0, 10.0]]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory by rules of their own")
def test_a_block_is_given_the_memory_of_the_one_before():
    script = Path(__file__).with_name("memory_script.py")  # a process of its own, where no memory was freed so far
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    without, found = map(float, result.stdout.split())
    if without < 100:
        pytest.skip("this glibc keeps the memory by itself")
    assert found < without / 3
