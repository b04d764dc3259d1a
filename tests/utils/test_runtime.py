"""Device, precision and signals."""

import os
import signal

import pytest
import torch

from utils.errors import UserError
from utils.runtime import StopSignal, choose_device, choose_precision, cpu_bf16_instructions, default_workers

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


def test_a_signal_is_remembered_and_the_second_interrupt_is_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        assert stop.received == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
