"""Device, precision and signals."""

import os
import signal

import pytest
import torch

from utils import runtime
from utils.cores import default_workers
from utils.errors import UserError
from utils.interruptible import ENDINGS
from utils.runtime import (
    TIME_UP,
    StopSignal,
    available_memory,
    choose_device,
    choose_precision,
    cpu_bf16_instructions,
    memory_explained,
)

CPU = torch.device("cpu")


def test_auto_takes_bf16_exactly_where_the_cpu_has_it() -> None:
    chosen = choose_precision("auto", CPU)
    assert (chosen.name == "bf16") == bool(cpu_bf16_instructions())
    assert chosen.memory_format is torch.channels_last
    assert chosen.reason in str(chosen)


def test_fp16_on_the_cpu_is_refused() -> None:
    with pytest.raises(UserError, match="--precision fp16 needs a GPU"):
        choose_precision("fp16", CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_named() -> None:
    assert choose_device("auto") == CPU
    with pytest.raises(UserError, match="--device cpu"):
        choose_device("cuda")


def test_workers_share_the_cores() -> None:
    assert 1 <= default_workers() <= 8
    assert default_workers(10_000) == 1


def test_available_memory_is_a_number_of_bytes_of_this_machine() -> None:
    assert 2**20 < available_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_signal_is_remembered_and_the_second_interrupt_is_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        assert stop.received == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_closed_terminal_asks_to_stop_but_not_under_nohup() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler, heard in ((signal.SIG_DFL, signal.SIGTERM), (signal.SIG_IGN, 0)):
            signal.signal(signal.SIGHUP, handler)
            with StopSignal(speaks=False) as stop:
                os.kill(os.getpid(), signal.SIGHUP)
                assert stop.received == heard
            assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_is_answered_at_once_by_the_process_that_speaks(capfd: pytest.CaptureFixture[str]) -> None:
    for speaks, number in ((True, signal.SIGINT), (False, signal.SIGINT), (True, signal.SIGTERM)):
        with StopSignal(speaks=speaks):
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), signal.SIGTERM)
        said = speaks * (number == signal.SIGINT) * "stopping after this step; press Ctrl-C again to stop without saving\n"
        assert capfd.readouterr().err == said


def test_once_all_is_saved_further_signals_are_ignored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, *ENDINGS)]
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            stop.leave()
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        for number, handler in zip((signal.SIGINT, *ENDINGS), before, strict=True):
            signal.signal(number, handler)
    with StopSignal(0) as stop:
        stop.leave()
    assert signal.getsignal(signal.SIGINT) is before[0]


def test_the_time_is_up_after_its_minutes() -> None:
    assert StopSignal().received == 0
    assert StopSignal(10).received == 0
    assert StopSignal(0).received == TIME_UP


def test_running_out_of_memory_says_what_to_lower() -> None:
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("[enforce fail] can't allocate memory: you tried")):
        with pytest.raises(UserError, match="lower --batch_size"), memory_explained("lower --batch_size"):
            raise error


def test_another_error_passes_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_explained("lower --batch_size"):
        raise RuntimeError("shapes do not fit")


def test_tiny_images_train_in_fp32_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "cpu_bf16_instructions", lambda: "AVX-512 bf16")
    assert [choose_precision("auto", CPU, smallest=side).name for side in (16, 17)] == ["fp32", "bf16"]
    assert "not safe" in choose_precision("bf16", CPU, smallest=16).reason
    assert "not safe" not in choose_precision("bf16", CPU, smallest=17).reason
