"""Calling a task: from the running task's outbox, or here and now."""

import inspect

from celery import _state, canvas, states
from celery._sending import put
from celery.exceptions import Retry
from celery.result import AsyncResult, EagerResult
from celery.utils import uuid
from lovage._failures import trace

from .request import Context


class Calling:
    """What a task is called by. It is part of `Task`."""

    def delay(self, *args, **kwargs):
        """Calls it, if the running task succeeds."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args=None, kwargs=None, task_id=None, producer=None, link=None, link_error=None, **options
    ):
        """Calls it with options, if the running task succeeds."""
        if self.typing and self.app is not None and self.app.strict_typing:
            self._check(args or (), kwargs or {})
        if self.app is not None and self.app.conf.get("task_always_eager"):
            return self.apply(args, kwargs, task_id=task_id)
        for name, value in (("task_id", task_id), ("link", link), ("link_error", link_error)):
            if value:
                options[name] = value
        for name in ("queue", "priority", "expires", "ignore_result", "time_limit", "soft_time_limit"):
            if getattr(self, name) is not None:
                options.setdefault(name, getattr(self, name))
        return put(self.app, self.name, args, kwargs, options)

    def _check(self, args, kwargs):
        function = self.run
        try:
            inspect.signature(function).bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}") from None

    def apply(self, args=None, kwargs=None, task_id=None, throw=None, retries=0, **options):
        """Runs it here and now, retries and all; an `EagerResult`."""
        request = Context(
            id=task_id or uuid(),
            task=self.name,
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            retries=retries,
            is_eager=True,
            called_directly=False,
        )
        self._requests = (*self._requests, request)
        _state.TASKS.append(self)
        try:
            run = self._with_autoretry if self.autoretry_for else lambda a, k: self.run(*a, **k)
            value, state, text = run(request.args, request.kwargs), states.SUCCESS, None
        except Retry:
            return self.apply(args, kwargs, request.id, throw, retries + 1)
        except Exception as error:
            if throw:
                raise
            value, state, text = error, states.FAILURE, trace(error)
        finally:
            _state.TASKS.pop()
            self._requests = self._requests[:-1]
        return EagerResult(request.id, value, state, text, self.name)

    def signature(self, args=None, *starargs, **starkwargs):
        """A call that is not made yet."""
        starkwargs.setdefault("app", self.app)
        return canvas.signature(self, args, *starargs, **starkwargs)

    subtask = signature

    def s(self, *args, **kwargs):
        """A call that is not made yet."""
        return self.signature(args, kwargs)

    def si(self, *args, **kwargs):
        """One that takes no result of what was before it."""
        return self.signature(args, kwargs, immutable=True)

    def chunks(self, it, n):
        """Calls in lots of `n`."""
        return canvas.chunks(self.s(), it, n, app=self.app)

    def map(self, it):
        """One call for all items."""
        return canvas.xmap(self.s(), it, app=self.app)

    def starmap(self, it):
        """One call for all lists of arguments."""
        return canvas.xstarmap(self.s(), it, app=self.app)

    def AsyncResult(self, task_id, **kwargs):  # noqa: N802, Celery's name
        """The result of a call, of which a task knows the id only."""
        return AsyncResult(task_id)
