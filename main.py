"""Darkroom: train, evaluate, slim and ship image models.

python main.py --data DIR              train on a folder of class folders
python main.py --evaluation --resume RUN
python main.py --jit --resume RUN
python main.py --help                  all flags
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from config import Request

# Imports stand inside functions: Ctrl-C or a package that is missing meets them, too, and ends in one line.


def main(argv: list[str]) -> int:
    """Run the application that the arguments ask for; return the exit code."""
    from utils.distributed import USER_MISTAKE, tell_launcher
    from utils.environment import explain_missing
    from utils.errors import UserError

    try:
        return parse_and_run(argv)
    except (UserError, ModuleNotFoundError) as error:
        message = explain_missing(error) if isinstance(error, ModuleNotFoundError) else str(error)
        if not message or "--debug" in argv:
            raise
        if not tell_launcher(message):
            print(f"error: {message}", file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt as stop:
        # The code that was interrupted put what to do next into the exception.
        print(str(stop) or "interrupted", file=sys.stderr)
        return 130


def parse_and_run(argv: list[str]) -> int:
    """Read the arguments; run what they ask for here, or in processes of its own."""
    import config
    from applications.settings.flag_use import is_used
    from utils.distributed import launch, launched

    request = config.parse(argv)
    runtime = request.config.runtime
    processes = runtime.nproc or runtime.gpus or 1
    # A config file may name processes for an action that runs in one.
    if (processes > 1 or runtime.nodes > 1) and is_used("nproc", request.action) and not launched():
        return launch(
            os.path.abspath(__file__),
            argv,
            processes=processes,
            nodes=runtime.nodes,
            node_rank=runtime.rank,
            address=runtime.init_method,
        )
    return run(request)


def run(request: "Request") -> int:
    """Open the logs, run the application, close the logs."""
    from applications import APPLICATIONS
    from utils.logs import close_logging, open_logging

    open_logging(speaks=os.environ.get("RANK", "0") == "0", level=request.config.output.log_level)
    try:
        return APPLICATIONS.resolve(request.action)(request)
    finally:
        close_logging()


if __name__ == "__main__":
    try:
        from utils.distributed import run_and_exit
        from utils.std_streams import open_streams

        open_streams()
        run_and_exit(main, sys.argv[1:])
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
