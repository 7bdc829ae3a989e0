"""What a user of the flows can mend: said in one line, before anything has started."""


class WrongUse(ValueError):
    """What was asked cannot be done; the message names the value, where it stands, and the remedy."""

    exit_code = 2
