"""The Python that runs this program, and the packages that it lacks."""

import sys
from pathlib import Path
from shlex import quote

ROOT = Path(__file__).parent.parent


def explain_missing(error: ModuleNotFoundError) -> str:
    """Return which package this Python lacks and what to do; '' for a module of our own, whose absence is our mistake."""
    name = (error.name or "").partition(".")[0]
    if not name or (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file():
        return ""
    made = ROOT / ".venv" / "bin" / "activate"
    activate = f"activate the environment (source {quote(str(made))}), or " if made.is_file() and sys.prefix != str(ROOT / ".venv") else ""
    install = f"{quote(sys.executable)} -m pip install -r {quote(str(ROOT / 'requirements.txt'))}"
    return f"the package {name} is not installed for {sys.executable}; {activate}install what is needed: {install}"
