"""Read augmentations from a file: an ordered mapping of names to arguments, as JSON, YAML or a Python literal."""

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dataloader import AUGMENTS
from utils.errors import UserError, nearest
from utils.registry import is_user_code

# Keys under which settings of other programs have the mapping.
HOLDERS = ("data_conf", "dict_transform", "transforms", "kwargs")
# Other programs normalize in the augmentation; here the model does, with numbers stored with its weights.
NOT_OURS = ("Normalize", "ToTensorV2", "ToTensor")
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "max_pixel_value": 255.0}


def read_aug_config(path: Path) -> list[dict[str, Any]]:
    """Return the operations of a file in their order, each as {"type": name, "kwargs": {...}}.

    Normalize with ImageNet's numbers and ToTensorV2 are left out: the model normalizes by itself.

    Raises:
        UserError: the file cannot be read, or names an operation twice, an unknown one or none.
    """
    return read_operations(_unwrapped(_read(path)), source=f"--aug_config {path}")


def read_operations(operations: Any, *, source: str) -> list[dict[str, Any]]:
    """Return the operations of an ordered mapping of names to arguments; `source` is where it stands, for messages."""
    if not isinstance(operations, dict):
        raise UserError(f"{source}: expected a mapping of names to arguments, such as {{flip: {{p: 0.5}}}}")
    known = [*AUGMENTS, *NOT_OURS]
    found = []
    for name, arguments in operations.items():
        if name not in known and not is_user_code(str(name)):
            raise UserError(f"{source}: unknown augmentation '{name}'.{nearest(str(name), known)} See --list augments")
        if arguments is not None and not isinstance(arguments, dict):
            raise UserError(f"{source}: {name} needs a mapping of arguments, such as {{p: 0.5}}, not {arguments!r}")
        arguments = {str(key): _lists(value) for key, value in (arguments or {}).items()}
        if name in NOT_OURS:
            _check_normalize(source, name, arguments)
        else:
            found.append({"type": name, "kwargs": arguments})
    if not found:
        raise UserError(f"{source} names no augmentation")
    return found


def _check_normalize(source: str, name: str, arguments: Mapping[str, Any]) -> None:
    for key, value in IMAGENET.items():
        if name == "Normalize" and arguments.get(key, value) != value:
            raise UserError(f"{source}: Normalize has another {key} than the model; leave it out: the model normalizes by itself")


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "is not text"
        raise UserError(f"--aug_config {path}: {reason.lower()}") from error
    try:
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, path))
        return _read_python(text, path) if path.suffix == ".py" else _read_yaml(text, path)
    except (ValueError, SyntaxError) as error:
        raise UserError(f"--aug_config {path}: {' '.join(str(error).split())}") from error


def _unique(pairs: list[tuple[Any, Any]], path: Path) -> dict[Any, Any]:
    """Return the pairs as a mapping; refuse a key that occurs twice, since the first one would be lost."""
    found = {}
    for key, value in pairs:
        if key in found:
            raise UserError(f"--aug_config {path}: '{key}' is given twice; a name can be used once")
        found[key] = value
    return found


def _read_yaml(text: str, path: Path) -> Any:
    import yaml

    def build(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        pairs = [(loader.construct_object(key), loader.construct_object(value, deep=True)) for key, value in node.value]
        return _unique(pairs, path)

    class Loader(yaml.SafeLoader):
        """A loader subclass, so that other uses of yaml are not affected."""

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, build)
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UserError(f"--aug_config {path}{where}: {getattr(error, 'problem', None) or error}") from error


def _read_python(text: str, path: Path) -> Any:
    """Return the last mapping that a Python file assigns to a name; nothing is run."""
    mappings = [node.value for node in ast.parse(text).body if isinstance(node, ast.Assign | ast.Expr)]
    mappings = [node for node in mappings if isinstance(node, ast.Dict | ast.Call)]
    if not mappings:
        raise ValueError("no mapping such as dict_transform = dict(...) is there")
    return _literal(mappings[-1], path)


def _literal(node: ast.expr, path: Path) -> Any:
    """Return the value of a literal; dict(a=1) counts as one."""
    if isinstance(node, ast.Call):
        if not (isinstance(node.func, ast.Name) and node.func.id == "dict"):
            raise ValueError(f"line {node.lineno}: only literals and dict(...) are read")
        inner = [pair for part in node.args for pair in _literal(part, path).items()]
        return _unique([*inner, *((word.arg, _literal(word.value, path)) for word in node.keywords)], path)
    if isinstance(node, ast.Dict):
        pairs = [(ast.literal_eval(key), _literal(value, path)) for key, value in zip(node.keys, node.values, strict=True) if key]
        return _unique(pairs, path)
    return ast.literal_eval(node)


def _unwrapped(content: Any) -> Any:
    """Return the mapping of operations inside the keys that other programs put around it."""
    while isinstance(content, dict):
        holder = next((name for name in HOLDERS if isinstance(content.get(name), dict)), None)
        if holder is None:
            return content
        content = content[holder]
    return content


def _lists(value: Any) -> Any:
    """Return tuples as lists, which every settings format can hold."""
    return [_lists(part) for part in value] if isinstance(value, tuple | list) else value
