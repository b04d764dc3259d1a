"""The floors of the house: imports go downward only, shelves are strangers, the demo stands alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHELVES = ("models", "criterions", "optim", "dataloader")
OURS = {*SHELVES, "utils", "applications", "main", "config", "demos"}


def source_files() -> list[Path]:
    folders = ("applications", *SHELVES, "utils", "demos")
    return sorted([ROOT / "main.py", ROOT / "config.py", *(file for folder in folders for file in (ROOT / folder).rglob("*.py"))])


def imports(file: Path) -> set[str]:
    """Return every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {node.module or "", *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def allowed(file: Path) -> tuple[str, ...]:
    """Return the prefixes of our own modules that a file may import."""
    parts = file.relative_to(ROOT).parts
    shelf = parts[0]
    if shelf == "utils":
        return ("utils",)
    if shelf in SHELVES:
        return ("utils", shelf)
    if shelf == "demos":
        return ()
    below = ("utils", *SHELVES)
    if parts[:2] == ("applications", "tasks"):
        return (*below, "applications.contract", "applications.tasks")
    if parts[:2] == ("applications", "engine"):
        return (*below, "applications.contract", "applications.engine")
    if parts == ("applications", "contract.py"):
        return below
    if shelf == "applications":
        return (*below, "applications")
    return tuple(OURS)


@pytest.mark.parametrize("file", source_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_downward_only(file: Path) -> None:
    ours = {name for name in imports(file) if name.split(".")[0] in OURS}
    prefixes = allowed(file)
    wrong = {name for name in ours if not any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)}
    # 'from applications import assemble' also names the package itself.
    wrong -= {"applications"} if any(prefix.startswith("applications") for prefix in prefixes) else set()
    assert not wrong, f"{file.relative_to(ROOT)} may import {prefixes}, not {sorted(wrong)}"


def test_argparse_lives_in_config_and_its_helper() -> None:
    users = {str(file.relative_to(ROOT)) for file in source_files() if "argparse" in imports(file)}
    # The demo is a program of its own, copied to a device.
    assert users - {"demos/classifier.py"} == {"utils/flags.py"}


def test_shelves_never_see_the_whole_config() -> None:
    for file in source_files():
        if file.relative_to(ROOT).parts[0] in (*SHELVES, "utils"):
            names = {node.id for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
            assert not names & {"RunConfig", "Namespace"}, file


def test_nothing_is_decided_by_hasattr() -> None:
    allowed_use = {"utils/registry.py"}  # asks a user's module whether it has the name that the user gave
    for file in source_files():
        calls = [
            node.func.id
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        assert "hasattr" not in calls or str(file.relative_to(ROOT)) in allowed_use, file
