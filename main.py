"""Darkroom: train, evaluate, slim and ship image classifiers.

python main.py --data DIR              train on a folder of class folders
python main.py --evaluation --resume RUN
python main.py --jit --resume RUN
python main.py --help                  all flags
"""

import os
import sys

import config
from applications.settings.flag_use import is_used
from utils.distributed import USER_MISTAKE, launch, launched, run_and_exit, tell_launcher
from utils.errors import UserError
from utils.streams import open_streams


def main(argv: list[str]) -> int:
    """Run the application that the arguments ask for; return the exit code."""
    debug = "--debug" in argv
    try:
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
    except UserError as error:
        if debug:
            raise
        if not tell_launcher(str(error)):
            print(f"error: {error}", file=sys.stderr)
        return USER_MISTAKE
    except KeyboardInterrupt as stop:
        # The code that was interrupted put what to do next into the exception.
        print(str(stop) or "interrupted", file=sys.stderr)
        return 130


def run(request: config.Request) -> int:
    """Open the logs, run the application, close the logs."""
    from applications import APPLICATIONS
    from utils.logs import close_logging, open_logging

    open_logging(speaks=os.environ.get("RANK", "0") == "0", level=request.config.output.log_level)
    try:
        return APPLICATIONS.resolve(request.action)(request)
    finally:
        close_logging()


if __name__ == "__main__":
    open_streams()
    run_and_exit(main, sys.argv[1:])
