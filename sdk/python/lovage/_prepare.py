"""What is left to do when all modules are imported."""

#: Functions that APIs built on this package add.
AT_THE_END = []


def finish():
    """Calls them, once each, also those that they add."""
    while AT_THE_END:
        AT_THE_END.pop(0)()

#: Tasks of such APIs, for warming up.
WARM = []
