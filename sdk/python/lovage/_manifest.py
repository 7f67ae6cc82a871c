"""What a module says of itself."""

import json

from ._registry import TASKS


def manifest(module):
    """The manifest's JSON text: the same for the same module, whenever it is asked."""
    tasks = [TASKS[name].manifest() for name in sorted(TASKS)]
    tasks = [{key: value for key, value in task.items() if value is not None} for task in tasks]
    whole = {
        "v": 1,
        "abi": "lovage:task@0.1.0",
        "module": module,
        "language": "python",
        "tasks": tasks,
    }
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)
