"""Recipes: named settings that lie under the user's own flags (--recipe NAME)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from applications.settings.optimizer_change import RATES_OF_OPT, rates_of_another
from applications.settings.options import RunConfig
from applications.settings.quantization_aware import usual_when_rounding
from models.detectors import is_object_detector
from optim.usual import BY_GRADIENT, family_of, same_rates
from utils.errors import UserError, nearest
from utils.registry import is_user_code

# What the settings of a recipe follow: length, images of a step, and optimizer of the user's.
FITTED = frozenset({"epochs", "minutes", "cooldown", "warmup", "batch_size", "accumulate", "opt", "lr"})
# Of the run, or what it is in the recipe: a warm-up that the user has not given.
MOST_WARMUP = 0.1
NOT_MEASURED = "not measured with this program yet"


@dataclass(frozen=True)
class Settings:
    """The settings of a recipe, and what a user must know to choose it.

    Attributes:
        purpose: what it is for.
        origin: where it comes from.
        measured: what was reached with it.
        values: name of a setting -> value.
        rate_batch: the images of a step that its rates belong to, where they change in proportion to other numbers.
        needs_weights: whether it starts from trained weights.
    """

    purpose: str
    origin: str
    measured: str
    values: Mapping[str, Any] = field(default_factory=dict)
    rate_batch: int | None = None
    needs_weights: bool = False

    @property
    def help(self) -> str:
        """Return what --list recipes says."""
        return f"{self.purpose}\nfrom: {self.origin}\nmeasured: {self.measured}\nflags: {as_flags(self.values)}"

    def at_batch(self, images: int) -> dict[str, Any]:
        """Return the settings for so many images an optimizer step."""
        values = dict(self.values)
        if self.rate_batch is not None:
            values |= {name: values[name] * images / self.rate_batch for name in ("lr", "warmup_lr") if name in values}
        return values

    def fitted(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the settings that fit those of the user, and what is to be said of others that give way to them.

        Raises:
            UserError: a setting of the user's cannot be read.
        """
        asked = RunConfig().override(self.values).override({name: given[name] for name in FITTED & given.keys()})
        values, said = self.at_batch(asked.data.batch_size * max(1, asked.optim.accumulate)), list[str]()

        def leave_out(names: Iterable[str], why: str) -> None:
            left = {name: values.pop(name) for name in names if name in values and name not in given}
            said.extend([f"left out: {as_flags(left)}: {why}"] if left else [])

        # The two belong together: one that the user gives is not held against the other of the recipe.
        for own, other in (("image_size", "size_schedule"), ("size_schedule", "image_size")):
            if own in given:
                leave_out([other], f"it goes with another --{own}")
        opt, own = asked.optim.opt, RunConfig().override(self.values).optim.opt
        leave_out(rates_of_another({**values, "opt": own}, opt), f"meant for --opt {own}, not for {opt}")
        if asked.train.minutes is not None:
            leave_out(("epochs", "warmup"), "the plan of --minutes has its own")
        elif "warmup" in values and "warmup" not in given:
            length = max(0, asked.train.epochs - asked.optim.cooldown)
            share = max(MOST_WARMUP, self.values["warmup"] / self.values["epochs"])
            if values["warmup"] > share * length:
                said.append(f"--warmup {share * length:g} in place of {values['warmup']:g}: the run is shorter")
                values["warmup"] = share * length
        if asked.optim.warmup == 0 or ("lr" in given and asked.optim.lr < values.get("warmup_lr", 0)):
            leave_out(["warmup_lr"], "there is no climb from it")
        return values, said


RECIPES: Mapping[str, Settings] = MappingProxyType(
    {
        "quick": Settings(
            "a first answer from random weights: few epochs, most of them on small images",
            "progressive sizes of EfficientNetV2 (arXiv 2104.00298)",
            "on the 1,768 photographs of TrashNet what the best other program reaches in 5 epochs, in 0.36 of its time",
            {"epochs": 5, "image_size": (160, 160), "size_schedule": "96:0.4,128:0.8,160", "warmup": 1.0},
        ),
        "standard": Settings(
            "a solid run from random weights on data of thousands of images",
            "what most trainings of photographs share: flips, crops and colors, smoothed labels, averaged weights",
            "77.5% of TrashNet's 431 test photographs with mobilenetv3_small at 128x96, from 1,768; quick 63.1%",
            {"epochs": 60, "aug": "default", "label_smoothing": 0.1, "ema": 0.999, "size_schedule": "128:0.4,192:0.8,224"},
        ),
        "strong": Settings(
            "the best from random weights where time matters less, or where a network learns its few images by heart",
            "the ingredients of DeiT (arXiv 2012.12877) without its length",
            NOT_MEASURED,
            {
                "epochs": 200,
                "aug": "strong",
                "mixup": True,
                "cutmix": True,
                "label_smoothing": 0.1,
                "ema": 0.999,
                "weight_decay": 0.05,
                "size_schedule": "128:0.4,192:0.8,224",
            },
        ),
        "finetune": Settings(
            "trained weights on images of your own (--pretrained or --init_from FILE)",
            "rates at which trained weights are kept and a new classifier learns ten times as fast (after arXiv 1801.06146)",
            "92.3% of TrashNet's 431 test photographs with torchvision/mobilenet_v2, from 1,768; a probe of the same weights 91.0%",
            {"epochs": 10, "lr": 3e-4, "head_lr": 3e-3, "aug": "light", "label_smoothing": 0.1, "warmup": 1.0},
            needs_weights=True,
        ),
        "core": Settings(
            "comparison with runs of the program whose flags this one keeps: a long run at a low rate that falls in steps",
            "the defaults of that program; its settings of mixup take effect with --mixup",
            NOT_MEASURED,
            {
                "epochs": 85,
                "opt": "adam",
                "lr": 1e-4,
                "weight_decay": 5e-4,
                "schedule": "steps",
                "warmup": 5.0,
                "image_size": (400, 224),
                "mixup_alpha": 1.1,
                "mixup_ratio": 0.5,
            },
        ),
        "a3": Settings(
            "ImageNet from random weights, the shortest of three: trained at 160 pixels, measured at 224",
            "ResNet strikes back, procedure A3 (arXiv 2110.00476, table 2); its test images are cut at 0.95 of their size, ours at 1",
            f"78.1% by its authors with resnet50; {NOT_MEASURED}",
            {
                "epochs": 100,
                "batch_size": 2048,
                "opt": "lamb",
                "lr": 8e-3,
                "weight_decay": 0.02,
                "warmup": 5.0,
                "image_size": (224, 224),
                "size_schedule": "160:1,224",
                "resize": "crop",
                "aug": "resized_crop|flip|randaug(2, m=6)",
                "mixup": True,
                "mixup_alpha": 0.1,
                "cutmix": True,
                "cutmix_alpha": 1.0,
                "criterion": "bce",
            },
        ),
        "toolbox": Settings(
            "ImageNet from random weights in 100 epochs: trained at 176 pixels, measured at 224; its rate follows the images of a step",
            "the ImageNet recipe of vision-toolbox, after torchvision's",
            f"76.9% by its author with darknet53; {NOT_MEASURED}",
            {
                "epochs": 100,
                "batch_size": 1024,
                "opt": "momentum",
                "lr": 0.5,
                "weight_decay": 2e-5,
                "warmup": 5.0,
                "warmup_lr": 0.005,
                "image_size": (224, 224),
                "size_schedule": "176:1,224",
                "resize": "crop",
                "aug": "resized_crop|flip|trivialaugment|erase(0.1)",
                "mixup": True,
                "mixup_alpha": 0.2,
                "cutmix": True,
                "cutmix_alpha": 1.0,
                "label_smoothing": 0.1,
            },
            rate_batch=1024,
        ),
    }
)
# Of finetune, what --pretrained and --init_from take without a recipe.
RATES = ("lr", "head_lr")
# Of detectors from nothing: they learn from few places of an image, and take steps so many times as large as those of classifiers; but with
# optimizers whose steps follow the size of the gradients this rate.
TIMES_OF_DETECTORS, BY_GRADIENT_OF_DETECTORS = 3.0, 1e-2
# Of all detectors: half of the images whole, so that short runs see the scale that they are judged by.
DETECTOR_AUG = "mosaic(p=0.5)|HueSaturationValue(5, 30, 30, p=1)|flip"


def as_flags(values: Mapping[str, Any]) -> str:
    """Return settings as flags of a command."""
    return " ".join(filter(None, (_flag(name, value) for name, value in values.items())))


def _flag(name: str, value: Any) -> str:
    if value is None:
        return f"--no_{name}"
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no_{name}"
    if isinstance(value, tuple | list):
        return f"--{name} {' '.join(map(str, value))}"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"--{name} '{text}'" if any(sign in text for sign in "|( ") else f"--{name} {text}"


def find_recipe(name: str) -> Settings:
    """Return a recipe by its name.

    Raises:
        UserError: there is none of that name.
    """
    if name.lower() not in RECIPES:
        raise UserError(f"--recipe {name}: there is no such recipe.{nearest(name, list(RECIPES))} See --list recipes")
    return RECIPES[name.lower()]


def settings_below(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that lie under those that the user has given: the recipe's, and under them those usual for the optimizer, for
    trained weights, for detectors and for learning with rounding.

    Raises:
        UserError: the recipe is unknown, or needs weights that are not named.
    """
    name = given.get("recipe")
    weights = given.get("pretrained") or given.get("init_from") or given.get("resume")
    if name is None:
        return usual_for_optimizer(given) | usual_for_detectors(given) | usual_when_rounding(given)
    recipe = find_recipe(name)
    if recipe.needs_weights and not weights:
        raise UserError(f"--recipe {name} starts from trained weights: add --pretrained, or --init_from FILE")
    fitted, _ = recipe.fitted(given)
    both = {**fitted, **given}
    return usual_for_optimizer(both) | usual_for_detectors(given) | usual_when_rounding(both) | fitted


def settled_by(given: Mapping[str, Any]) -> frozenset[str]:
    """Return the settings that a plan of --minutes keeps: those that the user has given, and of a recipe what its rates belong to."""
    return frozenset(given) | ({"image_size", "batch_size"} & settings_below(given).keys())


def rates_below(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rates among `settings_below`, which may follow a batch that was found after the settings were read."""
    return {name: value for name, value in settings_below(given).items() if name in RATES_OF_OPT and name not in given}


def usual_for_optimizer(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return rates and weight decay of the optimizer, where they are not those of the flags and the user has given none.

    Trained weights take the share of its usual rate that finetune takes of that of its own optimizer.

    Raises:
        UserError: --opt names no optimizer.
    """
    plain, finetune = RunConfig().optim, RECIPES["finetune"].values
    opt = str(given.get("opt", plain.opt))
    family = family_of(opt)
    lr, as_adamw = family.lr, plain.lr
    if is_object_detector(str(given.get("arch", ""))) and not is_user_code(opt):
        lr = BY_GRADIENT_OF_DETECTORS if family == BY_GRADIENT else TIMES_OF_DETECTORS * lr
        as_adamw *= TIMES_OF_DETECTORS
    usual: dict[str, Any] = {"lr": lr, "weight_decay": family.weight_decay}
    usual = {name: value for name, value in usual.items() if value != getattr(plain, name)}
    if _takes_rates_of_finetune(given) and not is_user_code(opt):
        usual |= {rate: finetune[rate] * lr / as_adamw for rate in RATES}
    return {name: float(f"{value:.6g}") for name, value in usual.items() if name not in given}


def _takes_rates_of_finetune(given: Mapping[str, Any]) -> bool:
    """Whether trained weights are to learn at rates that nobody has given."""
    has_weights = given.get("pretrained") or given.get("init_from")
    return bool(has_weights) and "lr" not in given and str(given.get("recipe") or "finetune").lower() == "finetune"


def usual_for_detectors(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return augmentation and temperature of teachers of a detector, where --arch names one and the user has given none."""
    if not is_object_detector(str(given.get("arch", ""))):
        return {}
    found: dict[str, Any] = {} if {"aug", "aug_config"} & given.keys() else {"aug": DETECTOR_AUG}
    if given.get("teacher") and "distill_temperature" not in given:
        # Most places show nothing: what is divided there would outweigh the objects.
        found["distill_temperature"] = 1.0
    return found


def describe_settings(given: Mapping[str, Any]) -> list[str]:
    """Return the lines that say which settings lie under the user's own, and which of them these override."""
    name, below = given.get("recipe"), settings_below(given)
    values, changes = find_recipe(name).fitted(given) if name is not None else ({}, [])
    both = {**values, **given}
    usual = {"optimizer": usual_for_optimizer(both), "detectors": usual_for_detectors(given), "rounding": usual_when_rounding(both)}
    held = set(both)
    for kind in reversed(usual):
        usual[kind] = {each: value for each, value in usual[kind].items() if each not in held}
        held |= usual[kind].keys()
    lines = []
    if name is not None:
        asked, recipe = RunConfig().override(given).to_dict(), RunConfig().override(below).to_dict()
        over = {each: asked[each] for each in below if each in given and asked[each] != recipe[each]}
        lines.append(f"recipe    {name}: {as_flags({each: value for each, value in values.items() if each not in over})}")
        if over:
            lines.append(f"          your own flags win: {as_flags(over)} in place of {as_flags({each: below[each] for each in over})}")
        lines += [f"          {change}" for change in changes]
        replaced = {each: value for each, value in usual_when_rounding(given).items() if each in values and values[each] != value}
        if replaced := {each: value for each, value in replaced.items() if each not in given}:
            lines.append(f"          in place of {as_flags(replaced)}, usual for --quantization_aware: leave --recipe out for these")
    return lines + _describe_usual(usual, both)


def _describe_usual(usual: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> list[str]:
    """Return a line for each reason why settings lie under those of the user and of a recipe."""
    opt = given.get("opt", RunConfig().optim.opt)
    weights = _takes_rates_of_finetune(given)
    rates = {name: value for name, value in usual["optimizer"].items() if weights and name in RATES}
    beside = {name: value for name, value in usual["optimizer"].items() if name not in rates}
    detectors = dict(usual["detectors"])
    if is_object_detector(str(given.get("arch", ""))):
        beside, detectors = {}, beside | detectors
    measure = f", in proportion for --opt {opt}" if not same_rates(str(opt), RunConfig().optim.opt) else ""
    said = [
        (rates, "rates", f"those of --recipe finetune{measure}, for trained weights; your own flags win"),
        (beside, "usual", f"for --opt {opt}; your own flags win"),
        (detectors, "usual", "for detectors; your own flags win (--aug none adds nothing)"),
        (usual["rounding"], "usual", "for --quantization_aware; your own flags win"),
    ]
    return [f"{word}     {as_flags(values)}: {why}" for values, word, why in said if values]
