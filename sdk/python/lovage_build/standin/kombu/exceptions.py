"""The exceptions of kombu that task code names."""

from lovage import _json


class KombuError(Exception):
    """The base of kombu's errors."""


class OperationalError(KombuError):
    """A message could not be sent."""


class SerializationError(KombuError):
    """A value could not be written or read."""


class EncodeError(SerializationError, _json.EncodeError):
    """A value has no JSON form."""


class DecodeError(SerializationError, _json.DecodeError):
    """A text is no JSON value."""
