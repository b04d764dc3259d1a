import json
from pathlib import Path

import pytest

import config
from dataloader.augment.chain import build_augment
from dataloader.augment.config_file import read_aug_config
from utils.errors import UserError

PYTHON = """
data_conf = dict(
    dict_transform = dict(
        SmallestMaxSize={'max_size': 160},
        ShiftScaleRotate={'shift_limit':0.05, 'scale_limit':0.05, 'rotate_limit':15, 'p':0.5},
        RandomCrop={'height':128, 'width':128},
        RGBShift={'r_shift_limit': 15, 'g_shift_limit': 15, 'b_shift_limit': 15, 'p': 0.5},
        RandomBrightnessContrast={'p': 0.5},
        Normalize={'mean':(0.485, 0.456, 0.406), 'std':(0.229, 0.224, 0.225)},
        ToTensorV2={'always_apply':True}
    )
)
"""
JSON = """{"SmallestMaxSize": {"max_size": 160},
 "ShiftScaleRotate": {"shift_limit": 0.05, "scale_limit": 0.05, "rotate_limit": 15, "p": 0.5},
 "RandomCrop": {"height": 128, "width": 128},
 "RGBShift": {"r_shift_limit": 15, "g_shift_limit": 15, "b_shift_limit": 15, "p": 0.5},
 "RandomBrightnessContrast": {"p": 0.5},
 "Normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
 "ToTensorV2": {"always_apply": true}}"""
YAML = """
dict_transform:
  SmallestMaxSize: {max_size: 160}
  ShiftScaleRotate: {shift_limit: 0.05, scale_limit: 0.05, rotate_limit: 15, p: 0.5}
  RandomCrop: {height: 128, width: 128}
  RGBShift: {r_shift_limit: 15, g_shift_limit: 15, b_shift_limit: 15, p: 0.5}
  RandomBrightnessContrast:
    p: 0.5
  Normalize: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
  ToTensorV2:
"""
ORDER = ["SmallestMaxSize", "ShiftScaleRotate", "RandomCrop", "RGBShift", "RandomBrightnessContrast"]


def written(folder: Path, text: str, suffix: str) -> Path:
    path = folder / f"transforms{suffix}"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("text", "suffix"), [(PYTHON, ".py"), (JSON, ".json"), (YAML, ".yaml")])
def test_the_same_chain_in_three_languages(tmp_path, text, suffix):
    found = read_aug_config(written(tmp_path, text, suffix))
    assert [each["type"] for each in found] == ORDER
    assert found == read_aug_config(written(tmp_path, PYTHON, ".py"))
    assert found == json.loads(json.dumps(found)), "a run's settings can hold it"
    assert len(build_augment(found).operations) == 5


def test_our_own_operations_are_understood_too(tmp_path):
    found = read_aug_config(written(tmp_path, "flip: {p: 0.3}\nresized_crop: {scale: [0.5, 1.0]}\n", ".yml"))
    assert found == [{"type": "flip", "kwargs": {"p": 0.3}}, {"type": "resized_crop", "kwargs": {"scale": [0.5, 1.0]}}]
    build_augment(found)


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        ('{"flip": {}, "flip": {"p": 1}}', ".json", "'flip' is given twice"),
        ("flip: {p: 1}\ncrop:\nflip:\n", ".yaml", "'flip' is given twice"),
        ("flip: {p: 1, p: 0}\n", ".yaml", "'p' is given twice"),
        ("x = {'flip': {}, 'flip': {}}", ".py", "'flip' is given twice"),
        ('{"Flipp": {}}', ".json", "unknown augmentation 'Flipp'. Did you mean"),
        ('{"RandomCrops": {}}', ".json", "Did you mean RandomCrop"),
        ('{"flip": 0.5}', ".json", "flip needs a mapping of arguments"),
        ('["flip"]', ".json", "expected a mapping"),
        ("{}", ".json", "names no augmentation"),
        ("{", ".json", "transforms.json: Expecting"),
        ("a: [", ".yaml", "transforms.yaml"),
        ("x = open('secret')", ".py", "only literals and dict"),
        ("x = 3", ".py", "no mapping"),
        ('{"Normalize": {"mean": [0.5, 0.5, 0.5]}}', ".json", "Normalize has another mean than the model"),
    ],
)
def test_mistakes_name_the_file(tmp_path, text, suffix, message):
    with pytest.raises(UserError, match=message) as caught:
        read_aug_config(written(tmp_path, text, suffix))
    assert str(caught.value).startswith(f"--aug_config {tmp_path}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.json: no such file"):
        read_aug_config(tmp_path / "nowhere.json")


def test_the_settings_of_a_run_hold_the_content_of_the_file(tmp_path):
    path = written(tmp_path, JSON, ".json")
    settings = config.parse(["--aug_config", str(path)]).config.data
    assert settings.aug_config is None
    assert settings.aug == read_aug_config(path)
    (tmp_path / "run.yaml").write_text(f"aug_config: {path}\n")
    assert config.parse(["--config", str(tmp_path / "run.yaml")]).config.data.aug == settings.aug
    assert config.parse(["--config", str(tmp_path / "run.yaml"), "--aug", "light"]).config.data.aug == "light", "flags outrank the file"
    with pytest.raises(UserError, match="--aug and --aug_config"):
        config.parse(["--aug_config", str(path), "--aug"])
