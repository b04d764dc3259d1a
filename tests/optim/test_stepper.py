"""Claims about the stepper: accumulation, clipping, rates, averages, and exact resumption."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from optim import OPTIMIZERS, SCHEDULES
from optim.clip import build_clip
from optim.ema import Ema
from optim.optimizers import build_optimizer
from optim.schedules import build_schedule
from optim.stepper import Stepper, load_optimizer_state
from utils.errors import UserError


def steady(_step):
    return 1.0


def small_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))


def batch(position, size=4):
    generator = torch.Generator().manual_seed(position)
    return torch.randn(size, 3, 5, 5, generator=generator), torch.randint(3, (size,), generator=generator)


def build(model, *, opt="adamw", schedule=steady, precision="fp32", ema=False, lr=0.05, **settings):
    optimizer = build_optimizer(opt, model, lr=lr, momentum=0.9, weight_decay=0.01)
    average = Ema(model, decay=0.9) if ema else None
    return Stepper(model, optimizer, schedule, device_type="cpu", precision=precision, ema=average, **settings)


def train(stepper, model, positions, *, share=1.0, closes_group=True):
    for position in positions:
        images, labels = batch(position)
        with stepper.forward(closes_group):
            loss = F.cross_entropy(model(images), labels)
        stepper.step(loss, share, closes_group=closes_group)


def same_values(left, right):
    return all(torch.equal(torch.as_tensor(value), torch.as_tensor(right[name])) for name, value in left.items())


def same(left, right):
    return all(torch.equal(value, right[name]) for name, value in left.items())


# Every optimizer once, every schedule once, both precisions.
RESUMED = [*((opt, "cosine", "fp32") for opt in OPTIMIZERS), *(("adamw", schedule, "bf16") for schedule in SCHEDULES)]


@pytest.mark.parametrize(("opt", "schedule", "precision"), RESUMED)
def test_a_resumed_run_ends_with_the_same_bits(opt, schedule, precision, tmp_path):
    settings = {"opt": opt, "precision": precision, "ema": True, "clip": build_clip("norm", 1.0)}
    settings["schedule"] = build_schedule(schedule, epochs=4, steps_per_epoch=3, warmup=1)
    straight = small_model()
    straight_stepper = build(straight, **settings)
    train(straight_stepper, straight, range(12))

    stopped = small_model()
    stepper = build(stopped, **settings)
    train(stepper, stopped, range(7))
    torch.save({"model": stopped.state_dict(), "stepper": stepper.state_dict()}, tmp_path / "saved.pt")

    saved = torch.load(tmp_path / "saved.pt", weights_only=True)
    resumed = small_model(seed=1)
    resumed.load_state_dict(saved["model"])
    resumed_stepper = build(resumed, **settings)
    resumed_stepper.load_state_dict(saved["stepper"])
    train(resumed_stepper, resumed, range(7, 12))

    assert same(straight.state_dict(), resumed.state_dict())
    assert same(straight_stepper.state_dict()["ema"]["average"], resumed_stepper.state_dict()["ema"]["average"])
    assert resumed_stepper.steps == 12
    assert resumed_stepper.lr == straight_stepper.lr


@pytest.mark.parametrize("opt", OPTIMIZERS)
def test_a_loaded_state_belongs_to_the_new_run_alone(opt):
    model = small_model()
    stepper = build(model, opt=opt, ema=True)
    train(stepper, model, range(2))
    state = stepper.state_dict()
    before = copy.deepcopy(state)
    other = small_model()
    other_stepper = build(other, opt=opt, ema=True)
    other_stepper.load_state_dict(state)
    train(other_stepper, other, range(2, 4))
    moments, kept = stepper.state_dict()["optimizer"]["state"], before["optimizer"]["state"]
    assert all(same_values(moments[name], kept[name]) for name in kept)
    assert same(stepper.state_dict()["ema"]["average"], before["ema"]["average"])


@pytest.mark.parametrize("opt", OPTIMIZERS)
def test_a_group_of_batches_equals_the_large_batch(opt):
    torch.manual_seed(0)
    large = nn.Sequential(nn.Flatten(), nn.Linear(75, 3)).double()
    small = copy.deepcopy(large)
    large_stepper, small_stepper = build(large, opt=opt, clip=build_clip("norm", 0.5)), build(small, opt=opt, clip=build_clip("norm", 0.5))
    for position in range(3):
        images, labels = batch(position, size=10)
        images = images.double()
        large_stepper.step(F.cross_entropy(large(images), labels), 1.0, closes_group=True)
        for part in (slice(0, 4), slice(4, 8), slice(8, 10)):
            closes = part.stop == 10
            loss = F.cross_entropy(small(images[part]), labels[part])
            small_stepper.step(loss, len(labels[part]) / 10, closes_group=closes)
            assert small_stepper.group_open is not closes
    assert small_stepper.steps == 3
    assert all(torch.allclose(value, small.state_dict()[name], atol=1e-9) for name, value in large.state_dict().items())


def test_weights_rest_while_a_group_is_open_and_it_cannot_be_saved():
    model = small_model()
    stepper = build(model)
    before = [param.detach().clone() for param in model.parameters()]
    train(stepper, model, [0], share=0.5, closes_group=False)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    with pytest.raises(AssertionError, match="unfinished group"):
        stepper.state_dict()
    train(stepper, model, [1], share=0.5)
    assert not any(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert all(param.grad is None for param in model.parameters())


def test_the_rate_follows_the_schedule():
    model = nn.Linear(1, 1, bias=False)
    stepper = build(model, opt="sgd", lr=2.0, schedule=lambda step: 1 / (step + 1))
    assert stepper.lr == 2.0
    used = []
    for _ in range(3):
        stepper.step(model(torch.zeros(1, 1)).sum(), 1.0, closes_group=True)
        used.append(stepper.lr)
    assert used == pytest.approx([2.0, 1.0, 2 / 3])


def test_the_step_has_the_size_of_the_rate():
    model = nn.Linear(1, 1, bias=False)
    optimizer = build_optimizer("sgd", model, lr=0.5, momentum=0, weight_decay=0)
    stepper = Stepper(model, optimizer, lambda step: 0.1**step, device_type="cpu", precision="fp32")
    for size in (0.5, 0.05):
        before = model.weight.detach().clone()
        stepper.step(model(torch.ones(1, 1)).sum(), 1.0, closes_group=True)
        assert torch.allclose(before - model.weight, torch.tensor(size))


def test_the_gradient_is_clipped_to_the_norm_over_all_parameters():
    model = nn.Linear(2, 1)
    optimizer = build_optimizer("sgd", model, lr=1.0, momentum=0, weight_decay=0)
    stepper = Stepper(model, optimizer, steady, device_type="cpu", precision="fp32", clip=build_clip("norm", 0.5))
    before = torch.cat([param.detach().flatten() for param in model.parameters()])
    stepper.step(100 * model(torch.ones(1, 2)).sum(), 1.0, closes_group=True)
    after = torch.cat([param.detach().flatten() for param in model.parameters()])
    assert float((before - after).norm()) == pytest.approx(0.5, rel=1e-4)


def test_a_penalty_acts_once_a_step_apart_from_the_moments():
    def pull(model, rate):
        with torch.no_grad():
            model.weight.sub_(3.0 * rate)

    model = nn.Linear(2, 1, bias=False)
    optimizer = build_optimizer("sgd", model, lr=0.5, momentum=0, weight_decay=0)
    stepper = Stepper(model, optimizer, lambda _step: 0.5, device_type="cpu", precision="fp32", penalties=[pull])
    before = model.weight.detach().clone()
    for closes in (False, True):
        stepper.step(model(torch.ones(1, 2)).sum(), 0.5, closes_group=closes)
    assert torch.allclose(before - model.weight, torch.full((1, 2), 0.25 + 0.75))


def test_frozen_norms_rest_in_training_too():
    model = small_model()
    for layer in list(model)[:2]:
        layer.requires_grad_(False)
    stepper = build(model)
    before = copy.deepcopy(model[:2].state_dict())
    for _ in range(2):
        model.train()
        train(stepper, model, range(2))
    assert same(before, model[:2].state_dict())
    assert not model[1].training
    assert model[0].training


def test_the_rate_of_the_run_is_that_of_the_flag():
    model = small_model()
    optimizer = build_optimizer("adamw", model, lr=0.1, momentum=0.9, weight_decay=0, head=model[-1], head_lr=5.0, layer_decay=0.5)
    assert Stepper(model, optimizer, steady, device_type="cpu", precision="fp32").lr == 0.1


def test_a_plateau_lowers_the_rate_and_is_remembered():
    def planned():
        return build_schedule("plateau(metric=top1,patience=1,factor=0.5)", epochs=9, steps_per_epoch=1, warmup=0)

    model = small_model()
    stepper = build(model, schedule=planned(), lr=1.0)
    for value in (0.5, 0.6, 0.6, 0.4):
        stepper.validated({"loss": 1.0, "top1": value})
    assert stepper.lr == 0.5
    stepper.validated({"loss": 1.0, "top1": 0.1})
    resumed = build(model, schedule=planned(), lr=1.0)
    resumed.load_state_dict(stepper.state_dict())
    resumed.validated({"loss": 1.0, "top1": 0.1})
    assert resumed.lr == 0.25
    resumed.load_state_dict(build(model, lr=1.0).state_dict())


def test_autocast_follows_the_precision():
    for precision, expected in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        model = nn.Linear(2, 2)
        with build(model, precision=precision).forward(True):
            assert model(torch.ones(1, 2)).dtype == expected


def test_fp16_scales_the_loss_and_saves_its_scale():
    model = small_model()
    stepper = build(model, precision="fp16")
    before = copy.deepcopy(model.state_dict())
    train(stepper, model, range(2))
    assert not torch.equal(before["0.weight"], model.state_dict()["0.weight"])
    assert stepper.state_dict()["scaler"]["scale"] > 1
    assert build(small_model()).state_dict()["scaler"] == {}


def test_fp16_leaves_out_a_step_that_overflows():
    model = nn.Linear(2, 1)
    stepper = build(model, precision="fp16")
    before = copy.deepcopy(model.state_dict())
    stepper.step(model(torch.ones(1, 2)).sum() * 1e38, 1.0, closes_group=True)
    assert same(before, model.state_dict())
    assert stepper.state_dict()["scaler"]["scale"] == 2.0**15


def test_fp16_clips_the_gradient_and_not_its_scaled_image():
    model = nn.Linear(2, 1)
    optimizer = build_optimizer("sgd", model, lr=1.0, momentum=0, weight_decay=0)
    stepper = Stepper(model, optimizer, steady, device_type="cpu", precision="fp16", clip=build_clip("norm", 0.5))
    before = model.weight.detach().clone()
    stepper.step(0.1 * model(torch.ones(1, 2)).sum(), 1.0, closes_group=True)
    assert torch.allclose(before - model.weight, torch.full((1, 2), 0.1))


def test_a_resumed_fp16_run_keeps_its_scale():
    model = nn.Linear(2, 1)
    stepper = build(model, precision="fp16")
    stepper.step(model(torch.ones(1, 2)).sum() * 1e38, 1.0, closes_group=True)
    resumed = build(model, precision="fp16")
    resumed.load_state_dict(stepper.state_dict())
    assert resumed.state_dict()["scaler"] == stepper.state_dict()["scaler"]
    # A run that turns to fp16 on the way starts with the usual scale.
    resumed.load_state_dict(build(model).state_dict())


def test_a_distributed_model_exchanges_gradients_at_the_end_of_a_group_only():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        model = small_model()
        wrapped = DistributedDataParallel(model)
        optimizer = build_optimizer("sgd", wrapped, lr=0.1, momentum=0.9, weight_decay=0)
        stepper = Stepper(wrapped, optimizer, steady, device_type="cpu", precision="fp32", ema=Ema(model, decay=0.9))
        with stepper.forward(False):
            assert not wrapped.require_backward_grad_sync
        with stepper.forward(True):
            assert wrapped.require_backward_grad_sync
        train(stepper, wrapped, [0], share=0.5, closes_group=False)
        train(stepper, wrapped, [1], share=0.5)
        assert stepper.state_dict()["ema"]["average"].keys() == model.state_dict().keys()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("opt", OPTIMIZERS)
def test_moments_take_the_memory_format_of_their_parameter(opt):
    # A fused kernel that meets moments in another memory format computes nonsense silently.
    plain = small_model()
    stepper = build(plain, opt=opt)
    train(stepper, plain, range(2))
    turned = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    turned_stepper = build(turned, opt=opt)
    turned_stepper.load_state_dict(stepper.state_dict())
    for model, its in ((plain, stepper), (turned, turned_stepper)):
        its.step(torch.stack([param.sum() for param in model.parameters()]).sum(), 1.0, closes_group=True)
    assert all(torch.allclose(value, turned.state_dict()[name]) for name, value in plain.state_dict().items())


def test_settings_of_the_new_run_outlive_the_file():
    model = small_model()
    stepper = build(model, opt="sgd", lr=0.5)
    train(stepper, model, [0])
    other = build(model, opt="sgd", lr=0.25)
    other.load_state_dict(stepper.state_dict())
    assert other.lr == 0.25


def test_a_state_of_another_optimizer_or_averaging_is_refused():
    model = small_model()
    stepper = build(model, opt="sgd")
    train(stepper, model, [0])
    with pytest.raises(UserError, match="--opt"):
        build(model, opt="adam").load_state_dict(stepper.state_dict())
    with pytest.raises(UserError, match=r"without --ema.* with it"):
        build(model, opt="sgd", ema=True).load_state_dict(stepper.state_dict())
    with pytest.raises(UserError, match=r"with --ema.* without it"):
        build(model, opt="sgd").load_state_dict(build(model, opt="sgd", ema=True).state_dict())


def test_moments_of_another_model_are_refused():
    model = small_model()
    stepper = build(model)
    train(stepper, model, [0])
    other = build_optimizer("adamw", nn.Linear(2, 2), lr=0.1, momentum=0.9, weight_decay=0)
    with pytest.raises(UserError, match="--arch"):
        load_optimizer_state(other, stepper.state_dict()["optimizer"]["state"], ["weight", "bias"])
    with pytest.raises(UserError, match="--arch"):
        load_optimizer_state(other, {"weight": {"exp_avg": torch.zeros(3, 2)}}, ["weight", "bias"])


def test_moments_find_their_parameter_when_the_groups_change():
    model = small_model()
    stepper = build(model)
    train(stepper, model, range(2))
    moments = stepper.state_dict()["optimizer"]["state"]
    optimizer = build_optimizer("adamw", model, lr=0.1, momentum=0.9, weight_decay=0, head=model[-1], head_lr=5.0)
    other = Stepper(model, optimizer, steady, device_type="cpu", precision="fp32")
    other.load_state_dict(stepper.state_dict())
    kept = other.state_dict()["optimizer"]["state"]
    assert list(kept) != list(moments)
    assert all(same_values(kept[name], moments[name]) for name in moments)


def test_what_thaws_on_the_way_starts_without_moments():
    model = small_model()
    model[0].requires_grad_(False)
    stepper = build(model)
    train(stepper, model, range(2))
    model[0].requires_grad_(True)
    other = build(model)
    other.load_state_dict(stepper.state_dict())
    assert set(other.state_dict()["optimizer"]["state"]) == {name for name, _ in model.named_parameters() if not name.startswith("0.")}
    train(other, model, range(2))


def test_a_model_is_evaluated_with_its_averages_where_they_are_kept():
    model = small_model()
    stepper = build(model, ema=True)
    train(stepper, model, range(2))
    own, averages = copy.deepcopy(model.state_dict()), stepper.averages()
    assert averages is not None
    with stepper.averaged():
        assert same(model.state_dict(), averages)
        assert not same(model.state_dict(), own)
    assert same(model.state_dict(), own)


def test_a_model_without_averages_is_evaluated_as_it_is():
    model = small_model()
    stepper = build(model)
    own = copy.deepcopy(model.state_dict())
    with stepper.averaged():
        assert same(model.state_dict(), own)
    assert stepper.averages() is None
