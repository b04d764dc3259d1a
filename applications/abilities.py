"""What not every task can do, and the flags that ask for it."""

from collections.abc import Mapping

# No flag alone asks for it: --predict with --tta does.
VIEWS_OF_SINGLE_IMAGES = "joining views of single images"
# Asked for by the value of a flag, --channels 4.
FOURTH_CHANNEL = "images of four channels"

# Abilities that not every task has -> the flags, and the actions, that ask for them. `refuse_unable` of assemble/ refuses the flags of
# what a task does not name, in training and wherever a model is read.
ABILITIES: Mapping[str, tuple[str, ...]] = {
    "training on crops": ("crop",),
    "tiles": ("tiles",),
    "answered boxes": ("conf", "nms", "max_detections", "agnostic", "cut_out_boxes"),
    "encoder-decoder networks": ("encoder", "output_stride"),
    "necks": ("neck",),
    "anchors": ("anchors",),
    "learning from teachers": ("teacher",),
    "maps of teachers": ("distill_features",),
    "answers of teachers in files": ("distill", "knowledge"),
    "weights of single images": ("curriculum", "curriculum_learning", "make_curriculum"),
    "counting the images of classes": ("class_weights", "logit_adjust", "prior_bias"),
    "mixing images": ("mixup", "cutmix"),
    "comparing copies of an image": ("jsd",),
    "heat maps": ("visual_method", "explain"),
    "averaging views": ("tta",),
    "thresholds that keep a promise": ("target",),
    "choosing on val images again": ("calibrate",),
    "comparing models": ("compare",),
    "answers for single images": ("predict",),
    VIEWS_OF_SINGLE_IMAGES: (),
    "copies with labels or boxes on them": ("annotate",),
    "rejecting answers": ("reject",),
    "vectors of images": ("embed",),
    "tables of OK and NG": ("report_ok_ng",),
    "exported files": ("export", "jit"),
    "measuring files side by side": ("benchmark",),
    "answers over the network": ("serve",),
    "pruning": ("prune",),
    FOURTH_CHANNEL: (),
}
