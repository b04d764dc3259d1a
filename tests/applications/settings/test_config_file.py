"""A Python file of settings: dicts as sections, each setting known and given once, stored as plain values."""

import json
from pathlib import Path

import pytest

import config
from applications.settings.options import RunConfig
from utils.errors import UserError


def written(folder: Path, text: str) -> list[str]:
    path = folder / "my_run.py"
    path.write_text(text, encoding="utf-8")
    return ["--config", str(path)]


SECTIONS = """
import math
from pathlib import Path

_size = 2 ** 6

def half(value):
    return value / 2

train_conf = dict(arch='mobilenetv3_small', epochs=half(10) + 2 and 7, lr=10 ** -math.log10(1000), pretrained=False, patience=None)
test_conf = dict(batch_size=16)
data_conf = dict(
    batch_size=16,
    image_size=(_size, _size),
    data=Path('photos') / 'cats',
    dict_transform=dict(
        SmallestMaxSize={'max_size': 160},
        ShiftScaleRotate={'shift_limit': 0.05, 'rotate_limit': 15, 'p': 0.5},
        Normalize={'mean': (0.485, 0.456, 0.406), 'std': (0.229, 0.224, 0.225)},
        ToTensorV2={'always_apply': True},
    ),
)
optim = dict(opt='sgd')
seed = 3
"""


def test_sections_single_settings_and_computed_values_are_read(tmp_path: Path) -> None:
    parsed = config.parse([*written(tmp_path, SECTIONS), "--lr", "0.25"])
    settings = parsed.config
    assert (settings.model.arch, settings.train.epochs, settings.data.batch_size) == ("mobilenetv3_small", 7, 16)
    assert (settings.data.image_size, settings.data.data) == ((64, 64), "photos/cats")
    assert (settings.optim.opt, settings.runtime.seed) == ("sgd", 3)
    assert settings.optim.lr == 0.25, "flags outrank the file"
    assert [each["type"] for each in settings.data.aug or ()] == ["SmallestMaxSize", "ShiftScaleRotate"]


def test_what_a_run_stores_no_longer_needs_the_file(tmp_path: Path) -> None:
    settings = config.parse(written(tmp_path, SECTIONS)).config
    again = RunConfig.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train_conf = dict(epoch=3)", r"train_conf\['epoch'\]: Did you mean epochs\?"),
        ("train_conf = dict(model='resnet50', sched='cosine')", r"train_conf\['sched'\]: timm's sched is --schedule here"),
        ("trainconf = dict(epochs=3)", "'trainconf': Did you mean train_conf"),
        ("img_size = 224", "'img_size': timm's img_size is --image_size here"),
        ("zebra = 3", "'zebra': nothing like it is known"),
        ("epochs = 3\ntrain_conf = dict(epochs=4)", r"'epochs' and train_conf\['epochs'\] give 'epochs' two values"),
        ("data_conf = dict(data=dict(train='x'))", r"data_conf\['data'\] is a mapping"),
        ("train_conf = dict(lr=object())", r"train_conf\['lr'\] is of type object"),
        ("train_conf = dict(epochs='many')", "epochs: cannot read 'many' as int"),
        ("data_conf = dict(dict_transform=dict(Flipp={}))", "my_run.py: unknown augmentation 'Flipp'"),
        ("data_conf = dict(dict_transform=dict(flip={}), aug='flip')", "dict_transform and aug both"),
        ("\nx = 1 / 0", "my_run.py, line 2: ZeroDivisionError: division by zero"),
        ("import nothing_of_the_kind", "line 1: ModuleNotFoundError"),
        ("raise SystemExit(3)", "line 1: SystemExit"),
        ("epochs = (", "my_run.py, line 1: "),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        config.parse(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_all_unknown_settings_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        config.parse(written(tmp_path, "train_conf = dict(model='resnet50', epoch=3, zebra=1)"))
    assert all(word in str(caught.value) for word in ("'model'", "'epoch'", "'zebra'"))


def test_a_mapping_of_a_flat_file_is_refused_where_none_can_be_meant(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text('{"data": {"train": "x"}}')
    with pytest.raises(UserError, match="'data' is a mapping"):
        config.parse(["--config", str(file)])
    file.write_text('{"aug": [{"type": "crop", "kwargs": {"share": 0.1}}], "criterion": {"type": "bce"}}')
    assert config.parse(["--config", str(file)]).config.data.aug == [{"type": "crop", "kwargs": {"share": 0.1}}]
