"""Published tables of what networks cost are counted again, every figure."""

import pytest

from benchmarks.zoo_tables import CLASSIFIERS, DARKNET, ESTIMATED, VOVNET, count, count_classifier, is_as_printed
from models.families import darknet, vovnet


@pytest.mark.parametrize("arch", [*DARKNET, *VOVNET])
def test_parameters_and_flops_are_the_printed_ones(arch):
    counted, printed = count(arch), {**DARKNET, **VOVNET}[arch]
    assert (f"{counted.parameters:.2f}", f"{counted.flops:.2f}") == (printed.parameters, printed.flops)


@pytest.mark.parametrize("arch", [arch for arch in CLASSIFIERS if arch not in ESTIMATED])
def test_classifiers_of_six_classes_cost_what_is_printed(arch):
    assert is_as_printed(count_classifier(arch), CLASSIFIERS[arch])


def test_the_tables_hold_every_variant_and_what_their_authors_claim():
    for module, table in ((darknet, DARKNET), (vovnet, VOVNET)):
        assert {arch: f"{published.top1:.1f}" for arch, published in module.PUBLISHED.items()} == {
            arch: row.top1 for arch, row in table.items()
        }
