"""Names of models: listing, building, and the mistakes that users make."""

import subprocess
import sys

import pytest
import torch

from applications.tasks import TASKS
from models import FAMILIES, TASK_NETWORKS, build_model, list_models, task_of, usual_encoder
from models.backbone import Backbone
from utils.errors import UserError

USER_FILE = """
from torch import nn

class Tiny(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.out = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.out(self.conv(x).mean((2, 3)))

def no_network(num_classes):
    return "nothing"

class Picky(nn.Module):
    def __init__(self):
        super().__init__()

class Crooked(Tiny):
    def forward(self, x):
        return super().forward(x)[:, :1]

constant = 3
"""


@pytest.fixture
def user_file(tmp_path):
    path = tmp_path / "my_nets.py"
    path.write_text(USER_FILE)
    yield path
    sys.modules.pop("my_nets", None)


def test_the_table_is_read_without_importing_torch():
    code = "import sys, models; models.list_models(); sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_listing_follows_the_table_and_the_pattern():
    assert list_models() == [name for family in FAMILIES.values() for name in family.variants]
    assert list_models("efficientnet_b[0-2]") == ["efficientnet_b0", "efficientnet_b1", "efficientnet_b2"]
    assert list_models("torchvision/vit_b*") == ["torchvision/vit_b_16", "torchvision/vit_b_32"]
    assert list_models("nothing*") == []


def test_every_listed_variant_is_one_that_its_family_builds():
    for family in FAMILIES.values():
        module = __import__(family.attribute.partition(":")[0], fromlist=["VARIANTS"])
        assert tuple(module.VARIANTS) == family.variants
        assert set(module.PUBLISHED) <= set(module.VARIANTS)


@pytest.mark.parametrize(
    ("arch", "hint"),
    [
        ("resnet81", "Did you mean resnet18?"),
        ("mobilenetv3_smal", "Did you mean mobilenetv3_small?"),
        ("vit_b_16", "Did you mean torchvision/vit_b_16?"),
        ("torchvision/resnet81", "Did you mean resnet18?"),
        ("zzz", "unknown model 'zzz'. See --list models"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest_right_one(arch, hint):
    with pytest.raises(UserError) as caught:
        build_model(arch, num_classes=3)
    assert hint in str(caught.value)


def test_every_network_that_is_made_for_a_task_is_known_as_such():
    assert set(TASK_NETWORKS) <= set(TASKS)
    for task, made in TASK_NETWORKS.items():
        assert all(task_of(name) == task_of(f"{name}(width=1)") == task for name in made.table)
        assert set(made.encoders) <= set(made.table)
        with pytest.raises(UserError, match=f"--task {task}"):
            build_model(next(iter(made.table)), num_classes=2)
    assert task_of("resnet18") is None
    assert (usual_encoder("unet"), usual_encoder("yolov3"), usual_encoder("yolox_nano")) == ("resnet18", "darknet53", None)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(UserError, match="at least 1 class"):
        build_model("resnet18", num_classes=0)
    for rate in (-0.1, 1.0):
        with pytest.raises(UserError, match="drop_rate"):
            build_model("resnet18", num_classes=3, drop_rate=rate)


def test_a_plain_module_of_the_user_trains_behind_the_contract(user_file):
    net = build_model(f"{user_file}:Tiny", num_classes=4)
    assert isinstance(net, Backbone)
    assert net(torch.rand(2, 3, 9, 8)).shape == (2, 4)
    net.check_size((9, 8))
    net.reset_classifier(7)
    assert net(torch.rand(2, 3, 9, 8)).shape == (2, 7)
    with pytest.raises(UserError, match="shows no feature maps"):
        net.forward_features(torch.rand(2, 3, 9, 8))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_network", "returned str, not a torch.nn.Module"),
        ("Picky", "cannot be called with num_classes"),
        ("constant", "not a class or function"),
        ("Absent", "has no 'Absent'"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(user_file, name, message):
    with pytest.raises(UserError, match=message):
        build_model(f"{user_file}:{name}", num_classes=4)


def test_check_size_finds_images_that_the_network_cannot_take(user_file):
    with pytest.raises(UserError, match="does not take images of 1 x 1 pixels"):
        build_model(f"{user_file}:Tiny", num_classes=4).check_size((1, 1))
    with pytest.raises(UserError, match=r"must give logits of shape \(1, 4\)"):
        build_model(f"{user_file}:Crooked", num_classes=4).check_size((9, 8))


def test_a_backbone_of_the_user_is_taken_as_it_is(user_file):
    code = "from models.families.resnet import ResNet\ndef small(num_classes): return ResNet('resnet18', num_classes=num_classes)"
    user_file.write_text(code)
    net = build_model(f"{user_file}:small", num_classes=4)
    assert type(net).__name__ == "ResNet"
