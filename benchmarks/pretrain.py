"""Pictures per second of `faceclr pretrain`, compared with lightly and with the training step alone.

The ceiling is the training step alone, on existing random views: network, projection head, NT-Xent, backward and
AdamW. `faceclr` is the whole training on a folder of faces. `lightly` is `SimCLRTransform(input_size=...)` of version
1.6 with its defaults and a torch `DataLoader`, followed by the same step, in a separate virtual environment with the
same torch, torchvision and timm; with no workers or one per core, whichever is faster. Both input pipelines are also
measured alone. A picture is two views. Each measurement runs in a separate process and excludes the first steps; the
rounds alternate, every second one in reverse order.

    python benchmarks/pretrain.py celeba-faces/ [--backbone resnet18] [--batch 256] [--size 112] [--precision 32]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path

import platformdirs
import torch

LIGHTLY = "lightly==1.6.*"
SAME = ("torch", "torchvision", "timm", "numpy", "pillow")
"""Packages whose versions must not differ between the two environments."""
HERE = Path(__file__).resolve().parent
OURS, THEIRS = ("ceiling", "faceclr", "faceclr views"), ("lightly", "lightly views")
OWN = ("Pss_Anon:", "Pss_Shmem:")
MOMENTS = (("rss_early", "files_early"), ("rss", "files"))
Figures = dict[str, float]


def lightly_python() -> Path:
    """Returns the Python of a virtual environment with lightly, and creates the environment if it does not exist."""
    pins = [f"{package}=={version(package).split('+')[0]}" for package in SAME]
    folder = platformdirs.user_cache_path("faceclr") / "benchmarks" / "-".join(["lightly-1.6", *pins[:3]])
    python = folder / "bin" / "python"
    if not python.exists() or subprocess.run([python, "-c", "import lightly"], capture_output=True).returncode:
        print(f"installing {LIGHTLY} into {folder}; this takes minutes and gigabytes", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", LIGHTLY, *pins], check=True)
    return python


def measure(part: str, python: Path, options: argparse.Namespace, **more: object) -> Figures:
    """Runs one part in a new process; returns its results, and the peak memory with its workers in MiB."""
    told = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()} | more
    script = HERE / ("pretrain_ours.py" if part in OURS else "pretrain_lightly.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    environment["FACECLR_CACHE"] = str(options.faces.parent / "cache")
    command: list[str | Path] = [python, script, part, json.dumps(told)]
    most = 0.0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    try:
        while True:
            try:
                written, _ = process.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                most = max(most, held(process.pid))
    finally:
        process.kill()  # Ctrl-C does not reach processes in another session.
    if process.returncode:
        raise SystemExit(f"{part}: failed")
    figures: Figures = json.loads(written.splitlines()[-1])
    return {**figures, "memory": most}


def held(session: int) -> float:
    """Returns the memory of the processes of a session in MiB, without file pages; shared memory counts once."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == session:
                lines = (process / "smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith(OWN))
        except OSError:
            continue  # The process has ended.
    return total / 1024


def some_of(faces: Path, target: Path, most: int) -> int:
    """Creates a folder with links to the first faces of another folder; returns their number."""
    from faceclr_cli.core.faces.face_folder import DESCRIPTION, open_faces

    paths = open_faces(faces).paths[:most]
    for path in (DESCRIPTION, *paths):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).symlink_to((faces / path).resolve())
    return len(paths)


def best_workers(part: str, python: Path, options: argparse.Namespace) -> int:
    """Returns the faster number of workers for a part of lightly: none, or one per core."""
    numbers = (0, len(os.sched_getaffinity(0)))
    rates = {number: measure(part, python, options, workers=number)["rate"] for number in numbers}
    print(f"{part}:", ", ".join(f"{rate:.1f} with {number} workers" for number, rate in rates.items()), flush=True)
    return max(rates, key=rates.__getitem__)


def in_turns(options: argparse.Namespace, rounds: int, lightly: Path | None) -> dict[str, list[Figures]]:
    """Returns the results of every part in every round."""
    pythons = dict.fromkeys(OURS, Path(sys.executable)) | (dict.fromkeys(THEIRS, lightly) if lightly else {})
    workers = {part: best_workers(part, lightly, options) for part in THEIRS} if lightly else {}
    taken: dict[str, list[Figures]] = {part: [] for part in pythons}
    for number in range(rounds):
        for part in list(pythons)[:: -1 if number % 2 else 1]:
            taken[part].append(measure(part, pythons[part], options, workers=workers.get(part, 0)))
        rates = ", ".join(f"{column[-1]['rate']:.1f} {part}" for part, column in taken.items())
        print(f"round {number + 1}: {rates}", flush=True)
    return taken


def show(taken: dict[str, list[Figures]]) -> None:
    """Prints medians over the rounds, and medians of the ratios within a round."""

    def ratio(ours: str, theirs: str) -> float:
        pairs = zip(taken[ours], taken[theirs], strict=True)
        return statistics.median(one["rate"] / other["rate"] for one, other in pairs)

    print(f"medians of {len(taken['ceiling'])} rounds, pictures per second (two views each)")
    for part, column in taken.items():
        print(f"{part:14} {statistics.median(figures['rate'] for figures in column):9.1f}")
    print(f"faceclr / ceiling              {ratio('faceclr', 'ceiling'):6.3f}")
    if "lightly" in taken:
        print(f"faceclr / lightly              {ratio('faceclr', 'lightly'):6.3f}")
        print(f"faceclr views / lightly views  {ratio('faceclr views', 'lightly views'):6.3f}")
    show_memory(taken)
    if "operations" in taken["ceiling"][0]:
        card = statistics.median(figures["matrix_rate"] for figures in taken["ceiling"])
        rate = statistics.median(figures["rate"] for figures in taken["faceclr"])
        share = rate * taken["ceiling"][0]["operations"] / card
        print(f"faceclr computes at {share:.1%} of the {card / 1e12:.0f} Tflop/s of this card's bf16 products of 8192²")


def show_memory(taken: dict[str, list[Figures]]) -> None:
    """Prints the peak memory in any round, and whether the memory of faceclr grows during training."""
    for part in ("faceclr", "lightly"):
        if part in taken:
            most = max(figures["memory"] for figures in taken[part])
            print(f"peak memory of {part}, without file pages: {most:.0f} MiB")
    for figures in taken["faceclr"]:
        early, late = (f"{figures[rss]:.0f} ({figures[files]:.0f} of files)" for rss, files in MOMENTS)
        print(f"faceclr's resident MiB after a quarter of the steps: {early}, at the end: {late}")


def machine(device: str) -> str:
    """Returns the name of the GPU, or the name and number of cores of the CPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    """Prints the command, the versions, the machine and the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces", type=Path, help="a folder that `faceclr prepare` wrote")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument(
        "--augment", choices=("simclr", "faces"), default="simclr", help="views of faceclr; lightly always uses simclr"
    )
    parser.add_argument("--precision", choices=("bf16", "32"), help="default: bf16 on a GPU, 32 on a CPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, help="number of measured steps; default: 100 on a GPU, 4 on a CPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lightly", type=Path, metavar="PYTHON", help="an existing interpreter with lightly")
    parser.add_argument("--without-lightly", action="store_true")
    arguments = parser.parse_args()
    on_gpu = arguments.device == "cuda"
    steps, skip = arguments.steps or (100 if on_gpu else 4), 20 if on_gpu else 1
    precision = arguments.precision or ("bf16" if on_gpu else "32")
    lightly = None if arguments.without_lightly else arguments.lightly or lightly_python()
    print("python", shlex.join(sys.argv))
    versions = {package: version(package) for package in ("faceclr", *SAME)}
    if lightly is not None:
        ask = "from importlib.metadata import version; print(version('lightly'))"
        versions["lightly"] = subprocess.run([lightly, "-c", ask], capture_output=True, text=True).stdout.strip()
    print(", ".join(f"{package} {number}" for package, number in versions.items()))
    print(f"{machine(arguments.device)}; {precision}, {steps} steps after the first {skip}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        faces = Path(scratch) / "faces"
        found = some_of(arguments.faces, faces, (skip + steps) * arguments.batch)
        if found < arguments.batch:
            raise SystemExit(f"{arguments.faces}: {found} faces are fewer than a batch of {arguments.batch}")
        options = argparse.Namespace(
            faces=faces,
            backbone=arguments.backbone,
            batch=arguments.batch,
            size=arguments.size,
            augment=arguments.augment,
            precision=precision,
            device=arguments.device,
            skip=skip,
            steps=steps,
            total=skip + steps,
            epochs=-(-(skip + steps) // (found // arguments.batch)),
        )
        show(in_turns(options, arguments.rounds, lightly))


if __name__ == "__main__":
    main()
