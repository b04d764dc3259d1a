"""Every check finds its fault, names the file, says what to do; a data set without faults has none."""

from pathlib import Path

import pytest

from dataloader.checks import CHECKS
from dataloader.checks.findings import LEVELS, Finding
from dataloader.checks.survey import Survey
from tests.dataloader.checks.conftest import survey_of
from tests.dataloader.checks.faulty_images import save, scene


def found(survey: Survey, check: str) -> list[Finding]:
    return CHECKS.resolve(check)(survey)


def files(survey: Survey, finding: Finding) -> set[str]:
    return {Path(survey.picture(number).path).name for group in finding.groups for number in group.images}


# These look at what the user has said of the images: a list, groups, masks or boxes; they have tests of their own.
SAID = ("groups", "lines", "masks", "boxes")


@pytest.mark.parametrize("check", [check for check in CHECKS if check not in SAID])
def test_every_check_finds_its_fault_and_says_what_to_do(faulty: Survey, check: str) -> None:
    findings = found(faulty, check)
    assert findings, "the data set has a fault of every kind"
    for finding in findings:
        assert finding.level in LEVELS
        assert finding.title
        assert finding.advice.endswith(".")
        assert all(0 <= number < len(faulty.facts) for group in finding.groups for number in group.images)
        assert set(finding.fixable) <= {number for group in finding.groups for number in group.images}


EXPECTED = {
    # words of the title -> level, files
    "empty file": ("error", {"empty.jpg"}),
    "damaged": ("error", {"cut.jpg"}),
    "not an image": ("error", {"text.jpg"}),
    "suspiciously large": ("error", {"huge.png"}),
    "pipe": ("error", {"pipe.jpg"}),
    "cannot be opened": ("error", {"loop.jpg"}),
    "leakage: 1 picture stands in two splits, byte": ("error", {"boat00.jpg", "again.jpg"}),
    "near leakage": ("warning", {"house01.jpg", "smaller.jpg"}),
    "label conflict": ("error", {"boat02.jpg", "ship.jpg"}),
    "more than once in a split, byte": ("warning", {"house03.jpg", "copy.jpg"}),
    "another format": ("warning", {"really_png.jpg"}),
    "single color": ("warning", {"blue.png"}),
    "far smaller": ("warning", {"icon.png"}),
    "animation": ("warning", {"moving.webp"}),
    "CMYK": ("warning", {"print.jpg"}),
    "transparency": ("info", {"clear.png"}),
    "16-bit": ("info", {"deep.png"}),
    "palette": ("info", {"palette.png"}),
    "turned by EXIF": ("info", {"lying.jpg"}),
    "as long as wide": ("warning", {"strip.jpg"}),
    "kind that is not read: .heic": ("warning", set()),
    "fewer than 10 train images: tree": ("warning", set()),
}


@pytest.mark.parametrize("words", EXPECTED)
def test_a_fault_is_found_with_its_files_and_nothing_else(faulty: Survey, words: str) -> None:
    findings = [finding for check in CHECKS for finding in found(faulty, check) if words in finding.title]
    assert len(findings) == 1, [finding.title for finding in findings]
    assert (findings[0].level, files(faulty, findings[0])) == EXPECTED[words]


def test_only_what_needs_no_judgment_may_be_moved(faulty: Survey) -> None:
    movable = {faulty.picture(number).path for check in CHECKS for finding in found(faulty, check) for number in finding.fixable}
    assert movable == {f"train/boat/{name}" for name in ("empty.jpg", "text.jpg", "cut.jpg", "huge.png", "boat00.jpg")}


def test_a_leak_with_two_labels_is_left_to_a_person(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number, label in enumerate(("cat", "dog")):
            save(scene(10 * number + (split == "val")), tmp_path / split / label / "a.png")
    save(scene(0), tmp_path / "val/dog/b.png")
    survey = survey_of(tmp_path)
    (leak,) = found(survey, "leakage")
    assert leak.level == "error"
    assert leak.fixable == ()
    assert [finding.level for finding in found(survey, "conflicts")] == ["error"]


def test_good_images_give_no_error_and_no_warning(tmp_path: Path) -> None:
    for split, start, count in (("train", 0, 12), ("val", 100, 4)):
        for label, offset in (("cat", 0), ("dog", 50)):
            for number in range(count):
                save(scene(start + offset + number), tmp_path / split / label / f"{number}.png")
    findings = [finding for check in CHECKS for finding in found(survey_of(tmp_path), check)]
    assert {finding.level for finding in findings} == {"info"}, [finding.title for finding in findings]


def test_digits_of_8x8_are_no_copies_of_each_other(tmp_path: Path) -> None:
    from dataloader.sources.digits import write_digits

    write_digits(tmp_path / "digits")
    survey = survey_of(tmp_path / "digits")
    assert survey.lookalikes == []
    assert not any(found(survey, check) for check in ("leakage", "conflicts", "copies", "tiny", "plain", "unreadable"))


def test_a_class_that_a_split_lacks_is_named(tmp_path: Path) -> None:
    for place in ("train/cat", "train/dog", "val/cat"):
        save(scene(len(place) + len(place) * ord(place[-1])), tmp_path / place / "a.png")
    assert any("val: no images of dog" in finding.title for finding in found(survey_of(tmp_path), "layout"))


def test_a_split_of_another_color_is_noticed(tmp_path: Path) -> None:
    from PIL import ImageEnhance

    for label, offset in (("cat", 0), ("dog", 50)):
        for number in range(26):
            save(scene(offset + number, (16, 12)), tmp_path / "train" / label / f"{number}.png")
            dark = ImageEnhance.Brightness(scene(200 + offset + number, (16, 12))).enhance(0.6)
            save(dark, tmp_path / "val" / label / f"{number}.png")
    assert any("val differs from train in color" in finding.title for finding in found(survey_of(tmp_path), "channels"))


def test_labels_of_images_with_several_are_joined(tmp_path: Path) -> None:
    save(scene(1), tmp_path / "a.png")
    save(scene(1), tmp_path / "b.png")
    lines = ["image,labels,split", "a.png,cat;dog,train", "b.png,cat,train"]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    survey = survey_of(tmp_path / "list.csv")
    (conflict,) = found(survey, "conflicts")
    assert conflict.groups[0].note == "cat or cat;dog"
    assert found(survey, "balance")[0].figures["counts"] == {"train": [2, 1]}
