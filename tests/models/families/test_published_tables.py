"""The tables that vision-toolbox prints of its networks are counted again, every figure."""

import pytest

from benchmarks.zoo_tables import DARKNET, VOVNET, count
from models.families import darknet, vovnet


@pytest.mark.parametrize("arch", [*DARKNET, *VOVNET])
def test_parameters_and_flops_are_the_printed_ones(arch):
    counted, printed = count(arch), {**DARKNET, **VOVNET}[arch]
    assert (f"{counted.parameters:.2f}", f"{counted.flops:.2f}") == (printed.parameters, printed.flops)


def test_the_tables_hold_every_variant_and_what_their_authors_claim():
    for module, table in ((darknet, DARKNET), (vovnet, VOVNET)):
        assert {arch: f"{published.top1:.1f}" for arch, published in module.PUBLISHED.items()} == {
            arch: row.top1 for arch, row in table.items()
        }
