"""The data doctor: what may be wrong with a data set, one check a file."""

from utils.registry import Row, Table

CHECKS = Table(
    "check",
    {
        "leakage": Row("dataloader.doctor.leakage:find", "pictures that stand in two splits"),
        "groups": Row("dataloader.doctor.groups:find", "groups that stand in two splits, and names that look like groups"),
        "conflicts": Row("dataloader.doctor.conflicts:find", "pictures that stand under two labels"),
        "lines": Row("dataloader.doctor.lines:find", "lines of a list that cannot be used: no such image, listed twice"),
        "unreadable": Row("dataloader.doctor.unreadable:find", "files that cannot be read: empty, damaged, no images, far too large"),
        "copies": Row("dataloader.doctor.copies:find", "pictures that stand twice in one split"),
        "layout": Row("dataloader.doctor.layout:find", "classes that a split lacks, files and folders that are not used"),
        "balance": Row("dataloader.doctor.balance:find", "classes with few images, or many times fewer than others"),
        "suffix": Row("dataloader.doctor.suffix:find", "files whose content is another format than their name says"),
        "plain": Row("dataloader.doctor.plain:find", "images of a single color"),
        "tiny": Row("dataloader.doctor.tiny:find", "images far smaller than the others"),
        "modes": Row("dataloader.doctor.modes:find", "animations, transparency, CMYK, 16 bits, gray beside color, EXIF orientation"),
        "shapes": Row("dataloader.doctor.shapes:find", "sizes and aspect ratios"),
        "channels": Row("dataloader.doctor.channels:find", "mean and standard deviation of the channels, split by split"),
    },
)
