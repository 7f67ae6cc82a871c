"""Stands in for kombu: queues and exchanges as plain values, for the settings that name them."""

import uuid as _ids

from lovage.exceptions import NotSupported

__version__ = "5.7.0"


class Exchange:
    """Where messages are sent to."""

    def __init__(self, name="", type="direct", channel=None, **options):  # noqa: A002
        self.name = name
        self.type = type
        self.options = options

    def __eq__(self, other):
        return isinstance(other, Exchange) and vars(self) == vars(other)

    def __hash__(self):
        return hash((self.name, self.type))

    def __repr__(self):
        return f"Exchange {self.name!r}({self.type})"

    def __str__(self):
        return self.name


class Queue:
    """Where messages wait."""

    def __init__(self, name="", exchange=None, routing_key="", channel=None, **options):
        self.name = name
        self.exchange = Exchange(exchange) if isinstance(exchange, str) else exchange
        self.routing_key = routing_key or name
        self.options = options
        self.queue_arguments = options.get("queue_arguments")
        self.max_priority = options.get("max_priority")

    def __eq__(self, other):
        return isinstance(other, Queue) and vars(self) == vars(other)

    def __hash__(self):
        return hash((self.name, self.routing_key))

    def __repr__(self):
        return f"<Queue {self.name} -> {self.exchange!r} -> {self.routing_key}>"

    def __str__(self):
        return self.name


class binding:  # noqa: N801, kombu's name
    """Which messages of an exchange a queue gets."""

    def __init__(self, exchange=None, routing_key="", arguments=None, unbind_arguments=None):
        self.exchange = exchange
        self.routing_key = routing_key
        self.arguments = arguments
        self.unbind_arguments = unbind_arguments


def uuid():
    """A new id."""
    return str(_ids.uuid4())


def __getattr__(name):
    if name in ("Connection", "Consumer", "Producer", "BrokerConnection", "Message"):
        raise NotSupported(f"kombu.{name}: a sandbox has no broker; send calls with delay()")
    raise AttributeError(f"module 'kombu' has no attribute {name!r}")
