"""The floors of the house: imports go downward only, shelves are strangers, the demo stands alone."""

import ast
from pathlib import Path

import pytest

from applications import APPLICATIONS

ROOT = Path(__file__).parent.parent
SHELVES = ("models", "criterions", "optim", "dataloader")
# Files of applications/ that every room may import.
SHARED = ("applications.contract", "applications.abilities", "applications.progress")
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


def rooms(header: str) -> dict[str, tuple[str, ...]]:
    """Return rooms and those that each may import, as the table of ARCHITECTURE.md with this first line draws them."""
    lines = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()
    table = lines[lines.index(header) + 2 :]
    rows = (line.strip("| ").split(" | ") for line in table[: table.index("")])
    return {row[0].strip("`"): tuple(name.strip("` ") for name in row[2].split(",") if name.strip("` ") != "nothing") for row in rows}


ROOMS = rooms("| room | what is done there | may import |")
SHELF_ROOMS = {
    room: tuple(f"{room.partition('/')[0]}/{other}" for other in others)
    for room, others in rooms("| room of a shelf | what it holds | may import |").items()
}


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
    if shelf == "applications" and len(parts) > 2:
        room = parts[1]
        return (*below, *SHARED, *(f"applications.{name}" for name in (room, *ROOMS[room])))
    if shelf == "applications":
        return (*below, *SHARED)
    return tuple(OURS)


@pytest.mark.parametrize("file", source_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_downward_only(file: Path) -> None:
    ours = {name for name in imports(file) if name.split(".")[0] in OURS}
    prefixes = allowed(file)
    wrong = {name for name in ours if not any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)}
    # 'from applications import assemble' also names the package itself.
    wrong -= {"applications"} if any(prefix.startswith("applications") for prefix in prefixes) else set()
    assert not wrong, f"{file.relative_to(ROOT)} may import {prefixes}, not {sorted(wrong)}"


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def arrows() -> dict[str, set[str]]:
    """Return module -> our modules that it imports; that of a package stands for what it names of its own."""
    names = {module_name(file) for file in source_files()}
    return {module_name(file): (imports(file) & names) - {module_name(file)} for file in source_files()}


def find_ring(graph: dict[str, set[str]]) -> list[str]:
    """Return nodes that lead back to one another, or nothing."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return path[path.index(node) :]
        if node in done:
            return []
        for following in sorted(graph.get(node, ())):
            if ring := walk(following, [*path, node]):
                return ring
        done.add(node)
        return []

    return next((ring for node in sorted(graph) if (ring := walk(node, []))), [])


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert find_ring({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert not find_ring(arrows())


def test_no_room_leads_back_to_itself() -> None:
    assert not find_ring({room: set(others) for room, others in ROOMS.items()})
    folders = {place.name for place in (ROOT / "applications").iterdir() if place.is_dir() and place.name != "__pycache__"}
    assert folders == set(ROOMS), "ARCHITECTURE.md has a row for each"


def test_every_arrow_of_the_table_is_drawn() -> None:
    drawn = {(file.split(".")[1], found.split(".")[1]) for file, others in arrows().items() for found in others if _in_room(file, found)}
    assert {(room, other) for room, others in ROOMS.items() for other in others} <= drawn


def _in_room(*modules: str) -> bool:
    return all(module.startswith("applications.") and module not in SHARED for module in modules)


def shelf_room(module: str) -> str | None:
    """Return the room of a shelf in which a module lies; None for files of the shelf itself, and elsewhere."""
    parts = module.split(".")
    return "/".join(parts[:2]) if parts[0] in SHELVES and len(parts) > 1 and (ROOT / parts[0] / parts[1]).is_dir() else None


def test_rooms_of_a_shelf_import_those_of_their_row() -> None:
    folders = {f"{shelf}/{place.name}" for shelf in SHELVES for place in (ROOT / shelf).iterdir() if (place / "__init__.py").is_file()}
    assert folders == set(SHELF_ROOMS), "ARCHITECTURE.md has a row for each"
    drawn = {(shelf_room(file), shelf_room(found)) for file, others in arrows().items() for found in others}
    drawn = {(room, other) for room, other in drawn if room and other and room != other}
    assert drawn == {(room, other) for room, others in SHELF_ROOMS.items() for other in others}


def test_no_room_of_a_shelf_leads_back_to_itself() -> None:
    # Files of a shelf itself lie between its rooms; its __init__ names what is resolved on use.
    graph: dict[str, set[str]] = {}
    for file, others in arrows().items():
        if file.split(".")[0] in SHELVES and file not in SHELVES:
            node = shelf_room(file) or file
            found = {shelf_room(other) or other for other in others if other.split(".")[0] in SHELVES and other not in SHELVES}
            graph.setdefault(node, set()).update(found - {node})
    assert not find_ring(graph)


def test_no_verb_imports_another_verbs_file() -> None:
    verbs = {row.attribute.partition(":")[0] for row in (APPLICATIONS[name] for name in APPLICATIONS)}
    assert len(verbs) > 10
    assert not {(file, verb) for file, others in arrows().items() for verb in others & verbs}


def test_argparse_lives_in_utils_flags_alone() -> None:
    users = {str(file.relative_to(ROOT)) for file in source_files() if "argparse" in imports(file)}
    # The demos are programs of their own, copied to a device.
    assert users - {"demos/classifier.py", "demos/cut_pieces.py", "demos/detector.py", "demos/segmenter.py"} == {"utils/flags.py"}


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
