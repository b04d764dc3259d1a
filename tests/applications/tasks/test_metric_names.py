"""A task says beforehand which figures it will answer."""

import pytest
import torch

from applications.tasks.classify import Classify
from applications.tasks.multilabel import Multilabel
from criterions.weighted import Criterion, build_elementwise
from dataloader.images.preprocess import Preprocess
from tests.applications.predicted import predicted
from utils.spec import parse_specs


@pytest.mark.parametrize(("kind", "count"), [(Classify, 3), (Classify, 10), (Multilabel, 3)])
def test_the_figures_of_a_task_are_the_names_of_its_metrics(kind: type, count: int) -> None:
    criterion = Criterion(build_elementwise(parse_specs("bce")[0]))
    task = kind([f"c{number}" for number in range(count)], criterion, Preprocess(image_size=(8, 8)), torch.device("cpu"))
    targets = torch.eye(count).bool() if kind is Multilabel else torch.arange(count)
    even = torch.full((count, count), 0.5)
    assert tuple(task.metrics(predicted(targets, even))) == task.metric_names
    assert set(task.metric_names) <= set(kind.metric_names)
