"""How other programs spell what is asked for here, so that their users are shown the right flag.

A row is spelling -> what to write here, with a remark in brackets where the two differ; what does not begin with '--' is a
sentence that has the spelling as its subject. `tests/applications/settings/test_foreign_flags.py` parses every row.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

RANDOM_ERASING = "--aug 'flip|crop|color|erase(p=0.25)'"
FLOOR = "--schedule 'cosine(floor=0.01)' (a share of --lr)"
NO_FLAG = "needs no flag here"
PRECISION = f"{NO_FLAG}: --precision auto takes bf16 or fp16 where the hardware has it"

# Of its train.py and validate.py.
TIMM: Mapping[str, str] = MappingProxyType(
    {
        "aa": "--aug 'randaug(n=2, m=9)'",
        "amp": PRECISION,
        "amp_dtype": "--precision bf16",
        "amp_impl": PRECISION,
        "apex_amp": "--precision fp16",
        "bce_loss": "--criterion bce",
        "bce_pos_weight": "has no counterpart here; --class_weights auto weighs classes",
        "bce_sum": "has no counterpart here: bce sums over the classes",
        "bce_target_thresh": "has no counterpart here",
        "bn_eps": "has no counterpart here: a family keeps its published value",
        "channels_last": f"{NO_FLAG}: it is chosen where it helps",
        "checkpoint": "--evaluation --resume RUN",
        "class_map": "has no counterpart here: classes are the names of the folders, or the labels of a list",
        "color_jitter": "--aug 'color(strength=0.4)'",
        "crop_pct": "has no counterpart here; --resize crop cuts the center",
        "cutmix_minmax": "has no counterpart here; --cutmix --cutmix_alpha 1.0 chooses the area",
        "checkpoint_hist": "--keep 10",
        "cooldown_epochs": "--cooldown 10",
        "data_dir": "--data DIR",
        "dataset": "--data cifar10",
        "dataset_download": f"{NO_FLAG}: --data cifar10 downloads at the first call",
        "decay_epochs": "--schedule 'step(every=30)'",
        "decay_milestones": "--schedule 'multistep(30, 60)'",
        "decay_rate": "--schedule 'step(gamma=0.1)'",
        "device_modules": "has no counterpart here",
        "dist_bn": "has no counterpart here; --sync_bn computes the statistics over all GPUs",
        "dr": "--schedule 'step(gamma=0.1)'",
        "drop": "--drop_rate 0.1",
        "drop_block": "has no counterpart here",
        "drop_connect": "has no counterpart here",
        "epoch_repeats": "--epoch_size 10000 (in images)",
        "eval_metric": f"{NO_FLAG}: the best epoch has the best validation",
        "experiment": "--name NAME",
        "fast_norm": "has no counterpart here",
        "fuser": "has no counterpart here",
        "gaussian_blur_prob": "--aug 'GaussianBlur(p=0.1)'",
        "gp": "has no counterpart here: a family keeps its pooling",
        "grad_accum_steps": "--accumulate 4",
        "grad_checkpointing": "has no counterpart here; --accumulate 4 with a smaller --batch_size needs less memory",
        "grayscale_prob": "--aug 'ToGray(p=0.1)'",
        "head_init_bias": "--prior_bias 0.01",
        "head_init_scale": "has no counterpart here",
        "hflip": "--aug 'flip(p=0.5)'",
        "img_size": "--image_size 224 224",
        "in_chans": "has no counterpart here: images are read as RGB",
        "initial_checkpoint": "--init_from FILE",
        "input_img_mode": f"{NO_FLAG}: images are read as RGB",
        "input_size": "--image_size 224 224",
        "interpolation": "has no counterpart here: it is bilinear with antialiasing",
        "jsd_loss": "--aug augmix --aug_splits 3 --jsd",
        "layer_decay_min_scale": "has no counterpart here",
        "local_rank": f"{NO_FLAG}: --gpus 4 starts the processes",
        "log_interval": "--print_freq 50",
        "log_wandb": "has no counterpart here; metrics.csv and TensorBoard files are always written",
        "lr_base": "has no counterpart here: --lr is the rate for any --batch_size",
        "lr_base_scale": "has no counterpart here: --lr is the rate for any --batch_size",
        "lr_base_size": "has no counterpart here: --lr is the rate for any --batch_size",
        "lr_cycle_decay": "--schedule 'cosine(cycles=3, decay=0.5)'",
        "lr_cycle_limit": "--schedule 'cosine(cycles=3)'",
        "lr_k_decay": "--schedule 'cosine(k=2)'",
        "mean": "--mean_std FILE",
        "min_lr": FLOOR,
        "mixup_mode": "--mixup --mix_mode pair",
        "mixup_off_epoch": "--mixup --mix_off_epochs 5 (counted from the end)",
        "mixup_prob": "--mixup --mixup_ratio 0.5",
        "mixup_switch_prob": "has no counterpart here: with --mixup --cutmix either is as likely",
        "model": "--arch resnet50",
        "model_ema": "--ema",
        "model_ema_decay": "--ema 0.9998",
        "model_ema_force_cpu": "has no counterpart here",
        "model_ema_warmup": f"{NO_FLAG}: the decay of --ema is gentler at the start",
        "model_kwargs": "has no counterpart here; --arch my_net.py:Net builds what you like",
        "native_amp": "--precision fp16",
        "no_ddp_bb": "has no counterpart here",
        "no_prefetcher": f"{NO_FLAG}: images are normalized on the device",
        "no_resume_opt": "--init_from FILE",
        "num_workers": "--workers 8",
        "opt_betas": "--opt_args 'betas=(0.9,0.95)'",
        "opt_eps": "--opt_args 'eps=1e-6'",
        "opt_kwargs": "--opt_args 'eps=1e-6'",
        "output": "--logdir DIR",
        "patience_epochs": "--schedule 'plateau(patience=10)'",
        "pin_mem": f"{NO_FLAG}: batches for a GPU are pinned",
        "pretrained_path": "--init_from FILE",
        "ratio": "--aug 'resized_crop(ratio=(0.75, 1.33))'",
        "real_labels": "has no counterpart here",
        "recount": "has no counterpart here: erase draws one rectangle",
        "recovery_interval": "--save_minutes 10 (in minutes)",
        "remode": "has no counterpart here: erase draws noise",
        "reprob": RANDOM_ERASING,
        "resplit": f"{NO_FLAG}: the first copy of --aug_splits is always the clean one",
        "results_file": f"{NO_FLAG}: --evaluation writes metrics.json and predictions.csv",
        "save_images": "--visual_data train",
        "scale": "--aug 'resized_crop(scale=(0.08, 1))'",
        "sched": "--schedule cosine",
        "sched_on_updates": f"{NO_FLAG}: the rate changes at every step",
        "smoothing": "--label_smoothing 0.1",
        "split_bn": "has no counterpart here",
        "start_epoch": f"{NO_FLAG}: --resume RUN goes on where the run stopped",
        "std": "--mean_std FILE",
        "synchronize_step": "has no counterpart here",
        "test_pool": "has no counterpart here",
        "torchcompile": "--compile",
        "torchscript": "--jit --resume RUN (after training)",
        "train_crop_mode": "--aug 'resized_crop'",
        "train_interpolation": "has no counterpart here: it is bilinear with antialiasing",
        "train_split": f"{NO_FLAG}: the folder is DIR/train, DIR/val, DIR/test, or one that is split for you",
        "use_multi_epochs_loader": f"{NO_FLAG}: the loader's processes stay",
        "val_split": f"{NO_FLAG}: the folder is DIR/train, DIR/val, DIR/test, or one that is split for you",
        "validation_batch_size": f"{NO_FLAG}: --batch_size serves validation too",
        "vflip": "--aug 'VerticalFlip(p=0.5)'",
        "wandb_project": "has no counterpart here; metrics.csv and TensorBoard files are always written",
        "warmup_epochs": "--warmup 3",
        "warmup_prefix": "has no counterpart here: the warm-up is part of --epochs",
        "worker_seeding": f"{NO_FLAG}: what is drawn depends on --seed alone, not on the workers",
    }
)

# What it has besides the names of timm.
GENERAL_BACKBONE: Mapping[str, str] = MappingProxyType(
    {
        "data_root": "--data DIR",
        "dict_transform": "--aug_config FILE",
        "loss": "--criterion softmax",
        "num_workers": "--workers 8",
        "pin_memory": f"{NO_FLAG}: batches for a GPU are pinned",
        "prefetch_factor": f"{NO_FLAG}: the loader is ahead by itself",
        "shuffle": f"{NO_FLAG}: training images are shuffled, held-out ones are not",
        "class_2_idx": f"{NO_FLAG}: classes are the sorted names of the folders",
        "img": "--predict PATH --resume RUN",
    }
)

ULTRALYTICS: Mapping[str, str] = MappingProxyType(
    {
        "agnostic_nms": "--predict PATH --resume RUN --agnostic",
        "amp": PRECISION,
        "augment": "--evaluation --resume RUN --tta",
        "auto_augment": "--aug randaug",
        "bgr": "has no counterpart here",
        "cfg": "--config FILE",
        "classes": "has no counterpart here: a folder holds the classes that are trained",
        "cls_pw": "--class_weights auto",
        "close_mosaic": "--plain_epochs 10",
        "cos_lr": "--schedule cosine",
        "degrees": "--aug 'rotate(10)'",
        "deterministic": f"{NO_FLAG}: on a CPU a run repeats to the bit",
        "distill_model": "--teacher RUN",
        "dis": "--teacher RUN --distill_weight 0.5",
        "dropout": "--drop_rate 0.1",
        "erasing": RANDOM_ERASING,
        "exist_ok": f"{NO_FLAG}: a run folder is never overwritten; a number is added to its name",
        "fliplr": "--aug 'flip(p=0.5)'",
        "flipud": "--aug 'VerticalFlip(p=0.5)'",
        "format": "--export onnx --resume RUN (--list formats names the others)",
        "hsv_h": "--aug 'HueSaturationValue'",
        "hsv_s": "--aug 'HueSaturationValue'",
        "hsv_v": "--aug 'HueSaturationValue'",
        "imgsz": "--image_size 224 224",
        "iou": "--predict PATH --resume RUN --nms 0.65",
        "lr0": "--lr 0.001",
        "lrf": FLOOR,
        "max_det": "--predict PATH --resume RUN --max_detections 300",
        "mode": f"{NO_FLAG}: without an action this program trains; others are --evaluation, --predict, --export",
        "model": "--arch resnet50",
        "mosaic": "--aug 'mosaic|flip' (--aug mosaic_hsv has more)",
        "nbs": "--accumulate 4 (batches a step)",
        "optimizer": "--opt adamw",
        "perspective": "--aug Perspective",
        "plots": f"{NO_FLAG}: pictures are written with every report",
        "project": "--logdir DIR",
        "rect": "has no counterpart here; --resize fit keeps the aspect of every image",
        "save": f"{NO_FLAG}: the last and the best weights are always kept",
        "save_crop": "--predict PATH --resume RUN --cut_out_boxes",
        "save_period": "--save_every 10",
        "save_txt": f"{NO_FLAG}: --predict writes predictions.csv, and labels/ of boxes",
        "scale": "--aug 'resized_crop(scale=(0.5, 1))'",
        "shear": "--aug 'Affine(shear=10)'",
        "source": "--predict PATH --resume RUN",
        "time": "--hours 1",
        "translate": "--aug 'Affine(translate_percent=(-0.1, 0.1))'",
        "vid_stride": "--predict PATH --resume RUN --frames 1",
        "visualize": "--visual_method grad-cam --resume RUN",
        "warmup_bias_lr": "has no counterpart here",
        "warmup_epochs": "--warmup 3",
        "warmup_momentum": "has no counterpart here",
        "weights": "--init_from FILE",
    }
)

TORCHVISION: Mapping[str, str] = MappingProxyType(
    {
        "amp": PRECISION,
        "auto_augment": "--aug randaug",
        "data_path": "--data DIR",
        "dist_url": "--init_method tcp://HOST:PORT",
        "lr_gamma": "--schedule 'step(gamma=0.1)'",
        "lr_min": FLOOR,
        "lr_scheduler": "--schedule cosine",
        "lr_step_size": "--schedule 'step(every=30)'",
        "lr_warmup_epochs": "--warmup 3",
        "lr_warmup_decay": "has no counterpart here",
        "lr_warmup_method": "has no counterpart here: the warm-up is linear",
        "model": "--arch resnet50",
        "model_ema": "--ema",
        "model_ema_decay": "--ema 0.9998",
        "model_ema_steps": "has no counterpart here: --ema averages at every step",
        "norm_weight_decay": f"{NO_FLAG}: norms and biases get no weight decay",
        "output_dir": "--logdir DIR",
        "ra_magnitude": "--aug 'randaug(n=2, m=9)'",
        "random_erase": RANDOM_ERASING,
        "start_epoch": f"{NO_FLAG}: --resume RUN goes on where the run stopped",
        "test_only": "--evaluation --resume RUN",
        "train_crop_size": "--image_size 224 224",
        "val_crop_size": "--image_size 224 224",
        "val_resize_size": "has no counterpart here: --image_size is what the network sees",
        "weights": "--pretrained",
        "world_size": "--gpus 4",
    }
)

MINI_PROJECTS: Mapping[str, str] = MappingProxyType(
    {
        "checkpoint_interval": "--save_every 10",
        "eta_min": FLOOR,
        "fp16_mixed": "--precision fp16",
        "input_dir": "--data DIR",
        "input_path": "--prepare OUT --data DIR",
        "logfile": f"{NO_FLAG}: every run folder has its log.txt",
        "multi_gpu": "--gpus 2",
        "output_dim": "--prepare OUT --data DIR --smaller_side 256",
        "output_path": "--prepare OUT --data DIR",
        "project_name": "--name NAME",
        "rgb_mean": f"{NO_FLAG}: --prepare OUT writes mean_std.json",
        "smaller_side_resize": f"{NO_FLAG}: --prepare OUT keeps the aspect of every image",
        "train_csv": "--data DIR (a folder with train.csv and val.csv)",
        "train_dir": "--data DIR",
        "valid_csv": "--data DIR (a folder with train.csv and val.csv)",
        "valid_dir": "--data DIR",
        "validation_split": "--val_share 0.15",
    }
)

PROGRAMS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "timm": TIMM,
        "Ultralytics": ULTRALYTICS,
        "torchvision": TORCHVISION,
        "general_backbone": GENERAL_BACKBONE,
        "DeepLearning_MiniProjects": MINI_PROJECTS,
    }
)

# Flags of this program that other programs give a value which they do not take here.
OTHER_VALUES: Mapping[str, str] = MappingProxyType(
    {
        "mixup": "--mixup --mixup_alpha 0.2",
        "cutmix": "--cutmix --cutmix_alpha 1.0",
        "pretrained": "--init_from FILE",
        "batch": "--batch_size 64",
        "device": "--device cuda",
    }
)

# How like a known name an unknown one must be to be a slip of the pen: 96 in 100 flags with one letter wrong still are, and
# few words that mean something else.
ALIKE = 0.75


def advice(name: str, known: Sequence[str], *, prefix: str = "") -> str:
    """Return a sentence of what to write in place of an unknown flag or setting, or '' where that is not known.

    Args:
        name: the unknown name, without prefix.
        known: the names there are, without prefix.
        prefix: what stands before them where they are written, such as '--'.
    """
    said = translated(name, prefix=prefix)
    if said:
        return f"{said}."
    near = get_close_matches(name.replace("-", "_").lower(), known, n=1, cutoff=ALIKE)
    return f"Did you mean {prefix}{near[0]}?" if near else ""


def translated(spelling: str, *, prefix: str = "") -> str:
    """Return what a name of other programs is here, in sentences without the last full stop; '' where none of them has it.

    Args:
        spelling: name of a flag or setting, with underscores or hyphens.
        prefix: what stands before it where it was read, such as '--'.
    """
    name = spelling.replace("-", "_").lower()
    owners: dict[str, list[str]] = {}
    for program, rows in PROGRAMS.items():
        if name in rows:
            owners.setdefault(rows[name], []).append(f"{program}'" if program.endswith("s") else f"{program}'s")
    # Name at most two programs in the message.
    return "; ".join(f"{' and '.join(whose[:2])} {prefix}{spelling} {_predicate(here)}" for here, whose in owners.items())


def _predicate(here: str) -> str:
    """Return the end of a sentence: what a row says, with its remark last."""
    if not here.startswith("--"):
        return here
    command, bracket, remark = here.partition(" (") if here.endswith(")") else (here, "", "")
    flags = [word for word in command.split() if word.startswith("--")]
    # Words in capitals stand for something; others are examples.
    is_example = any(not word.isupper() for word in command.split() if word not in flags)
    return f"is {' and '.join(flags)} here, such as {command}{bracket}{remark}" if is_example else f"is {command} here{bracket}{remark}"
