"""The machine: when a run is told to stop, and what running out of memory says."""

import pytest
import torch

from utils.errors import UserError
from utils.runtime import TIME_UP, StopSignal, memory_explained


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
