"""Remote control commands of a task file's own: a module has none, so they are declared and never called."""

from celery.exceptions import NotSupported


def _command(*args, **options):
    if len(args) == 1 and callable(args[0]) and not options:
        return args[0]
    return lambda function: function


#: Declares a command that changes a worker.
control_command = _command
#: Declares a command that asks a worker.
inspect_command = _command


def _of_a_worker(name):
    def call(*args, **kwargs):
        raise NotSupported(f"celery.worker.control.{name}(): Lovage is the worker")

    call.__name__ = name
    return call


add_consumer = _of_a_worker("add_consumer")
cancel_consumer = _of_a_worker("cancel_consumer")
revoke = _of_a_worker("revoke")
