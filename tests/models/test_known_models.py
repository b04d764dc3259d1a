"""The figures that lists and docs/models.md show are those that are measured."""

import pytest

from benchmarks.models_table import PAGE, measure, page_with
from models import list_models
from models.find_published import find_published
from models.known_models import read_known_models
from tests.models.test_backbone import QUICK


def test_every_network_of_the_table_has_a_row_in_its_order():
    assert list(read_known_models()) == list_models(), "write them: python -m benchmarks.models_table"


@pytest.mark.parametrize("arch", [arch if arch in QUICK else pytest.param(arch, marks=pytest.mark.slow) for arch in list_models()])
def test_a_row_is_what_is_measured(arch):
    assert read_known_models()[arch] == measure(arch), "write them: python -m benchmarks.models_table"


def test_size_accuracy_and_license_are_those_of_the_published_weights():
    for name, row in read_known_models().items():
        published = find_published(name)
        if published is None:
            assert (row.height, row.width, row.top1, row.license) == (224, 224, None, "")
        else:
            assert ((row.height, row.width), row.top1, row.license) == (published.size, published.top1, published.license)


def test_the_page_shows_the_rows():
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with(list(read_known_models().values()), page), "write it: python -m benchmarks.models_table"


def test_known_figures_stand_in_their_rows():
    rows = read_known_models()
    assert rows["resnet50"].cells()[1:4] == ("25.56 M", "4.09 G", "224x224")
    assert rows["vit_base_patch16_384"].cells()[1:4] == ("86.86 M", "55.48 G", "384x384")
