"""Checks of a data set, one per file."""

from utils.registry import Row, Table

CHECKS = Table(
    "check",
    {
        "leakage": Row("dataloader.checks.leakage:find", "images that are in two splits"),
        "groups": Row("dataloader.checks.groups:find", "groups that are in two splits, and names that look like groups"),
        "conflicts": Row("dataloader.checks.conflicts:find", "images that have two labels"),
        "lines": Row("dataloader.checks.lines:find", "lines of a list that cannot be used: no such image, listed twice"),
        "unreadable": Row("dataloader.checks.unreadable:find", "files that cannot be read: empty, damaged, no images, far too large"),
        "copies": Row("dataloader.checks.copies:find", "images that occur twice in one split"),
        "layout": Row("dataloader.checks.layout:find", "classes that a split lacks, files and folders that are not used"),
        "balance": Row("dataloader.checks.balance:find", "classes with few images, or many times fewer than others"),
        "masks": Row("dataloader.checks.masks:find", "masks of another size, ids without a name, rare classes, outlines on no edges"),
        "boxes": Row(
            "dataloader.checks.boxes:find", "boxes without area, outside, doubled or tiny; files without image or boxes; rare classes"
        ),
        "suffix": Row("dataloader.checks.suffix:find", "files whose content is another format than their name says"),
        "plain": Row("dataloader.checks.plain:find", "images of a single color"),
        "tiny": Row("dataloader.checks.tiny:find", "images far smaller than the others"),
        "modes": Row("dataloader.checks.modes:find", "animations, transparency, CMYK, 16 bits, gray mixed with color, EXIF orientation"),
        "sizes": Row("dataloader.checks.sizes:find", "sizes and aspect ratios"),
        "channels": Row("dataloader.checks.channels:find", "mean and standard deviation of the channels, split by split"),
    },
)
