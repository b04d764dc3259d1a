"""The losses: what a wrong answer costs. The rows are resolved on use."""

from utils.registry import Row, Table

# Functions that return an Elementwise; their arguments may stand in the spec: focal(gamma=3).
CRITERIONS = Table(
    "criterion",
    {
        "softmax": Row("criterions.elementwise:softmax", "softmax cross entropy: exactly one class is right"),
        "bce": Row("criterions.elementwise:bce", "one sigmoid problem a class: each class is right or wrong by itself"),
        "focal": Row("criterions.focal:focal", "softmax that fades out samples already right: focal(gamma=2)"),
        "focal_bce": Row("criterions.focal:focal_bce", "the same for sigmoids: focal_bce(gamma=2, alpha=0.25)"),
        "asymmetric": Row(
            "criterions.asymmetric:asymmetric",
            "sigmoids that forget easy negatives, for several labels per image: asymmetric(gamma_neg=4, gamma_pos=1, clip=0.05)",
        ),
        "asymmetric_single": Row(
            "criterions.asymmetric:asymmetric_single",
            "the same for one label an image, on softmax: asymmetric_single(gamma_neg=4, gamma_pos=0)",
        ),
        "kl": Row("criterions.divergence:kl", "softmax by KL divergence: 0 where the answer is the target, also a shared one"),
        "poly1": Row("criterions.poly:poly1", "softmax with a stronger pull on samples nearly right: poly1(eps=1)"),
        "poly1_bce": Row("criterions.poly:poly1_bce", "the same for sigmoids: poly1_bce(eps=1)"),
    },
)

# Functions that return a Region, for --task segment: alone, or added to a loss of single pixels: 'softmax|dice'.
REGION_LOSSES = Table(
    "region loss",
    {
        "dice": Row("criterions.regions.overlap:dice", "one minus the Dice coefficient of the classes that occur: dice(factor=1)"),
        "jaccard": Row("criterions.regions.overlap:jaccard", "one minus the soft intersection over union: jaccard(factor=1)"),
        "tversky": Row(
            "criterions.regions.overlap:tversky", "the same with misses and false alarms weighed apart: tversky(alpha=0.3, beta=0.7)"
        ),
        "lovasz": Row("criterions.regions.lovasz:lovasz", "the intersection over union itself, made differentiable (arXiv 1705.08790)"),
        "boundary": Row("criterions.regions.boundary:boundary", "one minus the F1 of the outlines: boundary(width=3, reach=5, factor=1)"),
    },
)

# BoxLoss classes, for --task detect: behind a loss of objectness, 'bce|giou'; several are added.
BOX_LOSSES = Table(
    "box loss",
    {
        "iou": Row("criterions.detection.box_losses:IoU", "one minus the square of the overlap, as in YOLOX: iou(factor=5)"),
        "giou": Row("criterions.detection.box_losses:GIoU", "the overlap, and how far boxes that do not meet are apart: giou(factor=5)"),
        "ciou": Row("criterions.detection.box_losses:CIoU", "the overlap, the distance of middles and the shape: ciou(factor=5)"),
        "l1": Row("criterions.detection.box_losses:L1", "absolute differences of offsets, from the first epoch on: l1(factor=1)"),
        "yolo": Row("criterions.detection.box_losses:Yolo", "offsets as YOLOv3 learned them, for networks with anchors: yolo(factor=1)"),
        "ghm_r": Row(
            "criterions.detection.box_losses:GradientHarmonyOfBoxes",
            "smooth differences of offsets, common gradient sizes counting less: ghm_r(mu=0.02, bins=10, momentum=0.7, factor=10)",
        ),
    },
)

# Dataclasses that say which places answer for which object, for --task detect: 'bce|simota(radius=1.5)'.
ASSIGNMENTS = Table(
    "assignment",
    {
        "simota": Row(
            "criterions.detection.simota:SimOTA", "the cheapest places, as many as overlap (arXiv 2107.08430): simota(radius=2.5, top=10)"
        ),
        "anchor_match": Row(
            "criterions.detection.anchor_match:AnchorMatch", "the anchor of the likest shape (arXiv 1804.02767): anchor_match(ignore=0.5)"
        ),
    },
)

# Weighter classes, in the order in which a canonical spec names them.
WEIGHTERS = Table(
    "loss weighter",
    {
        "class_weights": Row(
            "criterions.weighters.class_weights:ClassWeights", "a factor a class: class_weights(auto|sqrt|effective|FILE)"
        ),
        "cost": Row("criterions.weighters.cost:Cost", "the cost of mistaking one class for another: cost(FILE)"),
        "risk": Row("criterions.weighters.cost:Risk", "the cost that the present answer is expected to have: risk(FILE)"),
        "threshold": Row("criterions.weighters.threshold:Threshold", "only probabilities between two bounds are trained: threshold(FILE)"),
        "ohm": Row("criterions.weighters.ohm:HardMining", "only the hardest share of a batch is trained: ohm(hard_ratio=0.7)"),
        "ghm": Row("criterions.weighters.ghm:GradientHarmony", "common gradient sizes count less: ghm(bins=30, momentum=0.75)"),
    },
)

# Functions (activation, **arguments) -> Terms: how far a student is from its teacher; dkd(beta=8) takes arguments.
DISTILLATIONS = Table(
    "distillation",
    {
        "kd": Row("criterions.distillation:kd", "the teacher's softened probabilities, by KL divergence (arXiv 1503.02531)"),
        "hard": Row("criterions.distillation:hard", "the teacher's answer as if it were the label (arXiv 2012.12877)"),
        "dkd": Row(
            "criterions.distillation:dkd", "true class and the others decoupled, softmax only: dkd(alpha=1, beta=2) (arXiv 2203.08679)"
        ),
    },
)
