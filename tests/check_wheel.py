"""Build the wheel, install it into a fresh environment, and run it away from the source tree.

Run by `make wheel`. The environment takes the pinned versions; without a network it takes them from uv's own cache.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    """The output of a command that must succeed."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("L2L_", "PYTHONPATH"))}
    done = subprocess.run(command, cwd=folder, env={**surroundings, **variables}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def install(wheel: Path, python: Path, folder: Path) -> None:
    """Install with dependencies; what was downloaded before is not asked for again."""
    command = [UV, "pip", "install", "--python", python, "--constraint", ROOT / "constraints.txt", wheel]
    offline = subprocess.run([*command, "--offline"], cwd=folder, capture_output=True)
    if offline.returncode:
        run(*command, folder=folder)


def main() -> None:
    """Build, install, run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
        (wheel,) = folder.glob("*.whl")
        run(UV, "venv", "--python", sys.executable, folder / "venv", folder=folder)
        install(wheel, folder / "venv/bin/python", folder)
        l2l, home = folder / "venv/bin/l2l", {"L2L_HOME": str(folder / "home")}
        where = run(folder / "venv/bin/python", "-c", "import l2l_core; print(l2l_core.__file__)", folder=folder)
        if not Path(where.strip()).is_relative_to(folder.resolve()):
            sys.exit(f"the wheel was to be tested, but {where.strip()} was imported")
        listed = run(l2l, "list", folder=folder, **home)
        shown = json.loads(run(l2l, "show", "omniglot", "--json", folder=folder, **home))
        command = [l2l, "evaluate", "glyphs-5w1s", "--method", "protonet", "--episodes", "20", "--json"]
        report = json.loads(run(*command, folder=folder, **home))
        if "omniglot-5w1s" not in listed or shown["splits"]["vinyals"]["classes"]["train"] != 1028:
            sys.exit(f"the wheel does not hold the catalogue:\n{listed}")
        if not 0.2 < report["accuracy"] < 1:
            sys.exit(f"an untrained ProtoNet on glyphs-5w1s should be above chance, found {report['accuracy']}")
        print(f"{wheel.name} works in a fresh environment: untrained ProtoNet {report['accuracy']:.3f} on glyphs-5w1s")


if __name__ == "__main__":
    main()
