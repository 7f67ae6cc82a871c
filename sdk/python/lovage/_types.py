"""The contract's `types`, under the name that they have in this module. Only a module can import this.

Where a module also imports what WASI calls so, both are named in full.
"""

try:
    from wit_world.imports import types
except ImportError:
    from wit_world.imports import lovage_task_types as types

__all__ = ["types"]
