"""A data set full of faults, looked at once."""

from pathlib import Path

import pytest

from dataloader.checks.many_files import look_at_all
from dataloader.checks.survey import Survey
from dataloader.opening.open_catalog import open_catalog
from tests.dataloader.checks.faulty_images import write_faulty


def survey_of(root: Path, image_size: tuple[int, int] = (64, 64)) -> Survey:
    """Return a folder's images with their facts."""
    catalog = open_catalog(str(root), require_train=False)
    files = [split.file(index) for split in catalog.splits.values() for index in range(len(split))]
    return Survey(catalog, look_at_all(files, workers=0), image_size)


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """Return the survey of a data set with a fault of every kind."""
    return survey_of(write_faulty(tmp_path_factory.mktemp("faulty") / "toys"))
