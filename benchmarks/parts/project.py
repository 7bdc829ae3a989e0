"""Fresh clones of the project and what its commands do in them.

Names:  clone    `git clone` of what is committed, in a bare environment, as a newcomer has it
        outputs  everything a run makes that must be the same bytes every time: dvc.lock, data, models, reports
"""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from frostline import digests

OUTPUTS = ("dvc.lock", "data", "models", "reports")
CARRIED = re.compile(r"^(PIP_|SSL_CERT|REQUESTS_CA|https?_proxy|no_proxy)", re.IGNORECASE)
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RAN = re.compile(r"^Running stage '([^']+)'", re.MULTILINE)
POLL = 0.2  # seconds


class Ran(NamedTuple):
    """One command that ended well."""

    wall: float  # seconds
    cpu: float  # seconds of the command and all it started
    output: str

    @property
    def stages(self) -> list[str]:
        """The stages that DVC ran, in order; those whose result it took from its cache are not among them."""
        return RAN.findall(self.output)


class Failed(RuntimeError):
    """A command of a clone failed; the message holds its last lines."""


def clone(folder: Path) -> Path:
    """Clone what is committed here into a new folder."""
    subprocess.run(["git", "clone", "--quiet", str(Path.cwd()), str(folder)], check=True)
    return folder


def bare(home: Path) -> dict[str, str]:
    """The environment of a newcomer: a home, a path, a language, and how packages are reached."""
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if CARRIED.match(name)}
    python = Path(os.path.realpath("/proc/self/exe")).parent
    return {**kept, "HOME": str(home), "PATH": f"{SYSTEM}:{python}", "LANG": "C.UTF-8"}


def activated(environment: Mapping[str, str], clone: Path) -> dict[str, str]:
    """The environment after `source .venv/bin/activate`."""
    return {**environment, "PATH": f"{clone / '.venv' / 'bin'}:{environment['PATH']}"}


def installed(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the commands that are installed beside this Python; a clone's own code comes first there."""
    return {**environment, "PATH": f"{Path(sys.prefix) / 'bin'}:{environment['PATH']}"}


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Ran:
    """Run a command to its end; raises Failed with its last lines otherwise."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise Failed(f"{' '.join(command)} in {folder} ended with {done.returncode}:\n{_tail(done.stdout)}")
    return Ran(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout)


def kill_when(ready: Callable[[], bool], command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Start a command and end it with SIGKILL once `ready`; raises Failed if it ends before that."""
    log = folder / "killed.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while not ready():
            if process.poll() is not None:
                raise Failed(f"{' '.join(command)} ended before it could be killed:\n{_tail(log.read_text())}")
            time.sleep(POLL)
        process.send_signal(signal.SIGKILL)
        process.wait()
    log.unlink()


def outputs(folder: Path) -> dict[str, str]:
    """Digest of every file a run makes, by its path."""
    roots = [folder / name for name in OUTPUTS]
    found = [
        file for root in roots for file in ([root] if root.is_file() else sorted(root.rglob("*"))) if file.is_file()
    ]
    return {str(file.relative_to(folder)): digests.of_file(file) for file in found}


def differing(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Files that are not the same bytes in both, or are in one only."""
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-20:])
