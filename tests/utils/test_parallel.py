import os

import pytest

from utils.errors import UserError
from utils.parallel import spread


def square(number):
    if number == 99:
        raise UserError("99 is too much")
    if number == 98:
        os._exit(1)
    return number * number, os.getpid()


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order(workers):
    results = list(spread(square, range(40), workers=workers))
    assert [value for value, _ in results] == [number * number for number in range(40)]
    assert (os.getpid() in {process for _, process in results}) == (workers == 0)
    assert list(spread(square, [], workers=workers)) == []


@pytest.mark.parametrize(
    ("number", "message"), [(99, "99 is too much"), (98, "a worker process died at (no. [12] or )?no. 98( or no. [12])?: ")]
)
def test_a_mistake_or_a_death_in_a_worker_is_one_line(number, message):
    with pytest.raises(UserError, match=message):
        list(spread(square, [1, 2, number], workers=2, chunk=1, name=lambda item: f"no. {item}"))
