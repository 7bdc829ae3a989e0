"""Run a command that cannot outlive the process that started it: `python leash.py COMMAND ARGUMENT...`.

A killed orchestrator must leave no writer behind. On Linux the kernel ends the command when its parent ends; elsewhere
it runs without the leash. The command replaces this process, so nothing stands between it and its parent.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def of_worker() -> bool:
    """Whether a Prefect worker started this process."""
    return "PREFECT__FLOW_RUN_ID" in os.environ


def tie_to_worker() -> None:
    """In a process that a Prefect worker started: end when the worker ends, even by SIGKILL."""
    if sys.platform == "linux" and of_worker():
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(command: list[str]) -> None:
    """Ask for the signal, make sure that the parent was still there, become the command."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this command has ended")
    os.execvp(command[0], command)  # noqa: S606 (the command comes from flows, as a list)


if __name__ == "__main__":
    main(sys.argv[1:])
