"""The errors Frostline raises on purpose; each ends a command with its own exit code."""


class FrostlineError(Exception):
    """A failure whose message names the value, the file and the remedy."""

    exit_code = 1


class WrongUse(FrostlineError):
    """What was asked for cannot be done as written: params, paths, input files."""

    exit_code = 2


class Refused(FrostlineError):
    """What was asked for is well formed but must not be done: contracts differ, a gate failed."""

    exit_code = 1


class Preempted(FrostlineError):
    """Stopped from outside with its progress saved: run the same command again to go on."""

    exit_code = 75
