"""How much faster an OpenVINO file answers than the model in PyTorch: one image, from its pixels to the answer, in turns of a second.

python -m benchmarks.openvino_speed RUN [RUN ...]

Each RUN is of any task whose models are exported. The file is written in full precision, without the gate, and thrown away. Both sides get
an image of the size of the network. Exit code 1: one of them is not at least three times as fast.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import openvino
import torch

from applications.export import reference_kind
from applications.formats.facts import Facts
from applications.formats.format import Holds, WriteSettings
from applications.formats.openvino import OpenVino, for_one_image
from applications.settings.options import ExportOptions
from applications.trained.checkpoint import load_trained
from utils.checkpoint import BEST, find_checkpoint
from utils.timing import CpuContention, measure_times

LEAST = 3.0
# Not call by call: PyTorch's threads wait for their next call awake, on cores that OpenVINO's then lack.
ROUNDS, SECONDS = 5, 1.0


def gain(run: str, folder: Path) -> float:
    """Print the times of a run; return how many times as fast OpenVINO is."""
    device, options = torch.device("cpu"), ExportOptions(nms_inside=False)
    trained = load_trained(find_checkpoint(run, BEST), {}, "export", device)
    kind, numbers = reference_kind(trained.task), trained.preprocess
    task = kind.build_task(trained, device)
    deployed = kind.deploy(trained, task, options, any_size=False)
    told = kind.facts(trained, task, options, Holds())
    facts = Facts(trained.config.model.arch, trained.task, trained.classes, numbers, any_size=False, **told)
    place = folder / "model.xml"
    OpenVino().write(deployed, place, facts, WriteSettings())
    threads = torch.get_num_threads()
    opened = OpenVino().open(place, threads=threads)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    core = openvino.Core()
    own = core.compile_model(for_one_image(core.read_model(str(place))), "CPU", settings)
    image = np.random.default_rng(0).integers(0, 256, (1, 3, *numbers.image_size), dtype=np.uint8)
    pixels = torch.from_numpy(image)
    contention = CpuContention()
    with torch.inference_mode():
        calls = (lambda: deployed.answering(pixels), lambda: opened.run(image), lambda: own([image]))
        rounds = [[measure_times([call], seconds=SECONDS)[0].median for call in calls] for _ in range(ROUNDS)]
    eager, file, native = (statistics.median(each) for each in zip(*rounds, strict=True))
    ratio = eager / file
    print(
        f"{trained.config.model.described()} at {numbers.image_size[0]} x {numbers.image_size[1]}: PyTorch {1e3 * eager:.1f} ms, OpenVINO "
        f"{1e3 * file:.1f} ms, {ratio:.2f} times as fast; in the precision that OpenVINO itself takes here {1e3 * native:.1f} ms, "
        f"{eager / native:.2f} times; {threads} threads, others took {contention.others():.0%} of the machine",
        flush=True,
    )
    return ratio


def main() -> int:
    """Print a line for each run; return 1 where one misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    found = []
    for run in parser.parse_args().runs:
        with tempfile.TemporaryDirectory() as folder:
            found.append(gain(run, Path(folder)))
    return int(min(found) < LEAST)


if __name__ == "__main__":
    sys.exit(main())
