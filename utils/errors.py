"""The two kinds of failure that a user can cause; each message is one line that names value, rule and remedy."""


class UsageError(ValueError):
    """What was asked for cannot be done: exit code 2."""


class RunError(RuntimeError):
    """Something went wrong while doing it: exit code 1."""
