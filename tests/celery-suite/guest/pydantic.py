"""Pydantic needs a C extension, which no sandbox has: the tasks that use it are excused by name."""


class BaseModel:
    """Something to inherit from."""
