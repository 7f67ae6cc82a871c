"""The base class of tasks."""

import inspect

from celery import _state, signals, states
from celery.exceptions import (
    Ignore,
    ImproperlyConfigured,
    MaxRetriesExceededError,
    NotSupported,
    Reject,
    Retry,
)
from celery.result import result_from_tuple
from lovage import _json
from lovage._context import ctx
from lovage._failures import failure, told, trace
from lovage._host import host
from lovage._running import Ended, ended

from . import errback
from .calling import Calling
from .ends import ExceptionInfo, after_ms, backoff_of, raise_with_context, rejected, retry_options
from .entry import entry
from .request import Context, of_attempt


class Task(Calling):
    """A task. Called, it runs here and now; `delay` calls it from the running task's outbox."""

    MaxRetriesExceededError = MaxRetriesExceededError
    OperationalError = Exception

    abstract = True
    name = None
    app = None
    typing = True
    max_retries = 3
    default_retry_delay = 180
    rate_limit = None
    ignore_result = None
    trail = True
    send_events = True
    store_errors_even_if_ignored = False
    serializer = "json"
    time_limit = None
    soft_time_limit = None
    track_started = False
    acks_late = None
    acks_on_failure_or_timeout = True
    reject_on_worker_lost = None
    throws = ()
    expires = None
    priority = None
    queue = None
    autoretry_for = ()
    dont_autoretry_for = ()
    retry_kwargs = {}  # noqa: RUF012, Celery's name and form
    retry_backoff = False
    retry_backoff_max = 600
    retry_jitter = True
    idempotency_key = None
    idempotency_ttl = None

    source = ""
    _decorated = False
    _is_bound = True
    _recorded = {}  # noqa: RUF012
    _requests = ()
    _arguments = None

    # Running.

    def run(self, *args, **kwargs):
        """What the task does."""
        raise NotImplementedError("Tasks must define the run method.")

    def __call__(self, *args, **kwargs):
        """Runs it directly: neither retries nor results are anybody's business then."""
        self._requests = (*self._requests, Context(args=args, kwargs=kwargs, called_directly=True))
        _state.TASKS.append(self)
        try:
            return self.run(*args, **kwargs)
        finally:
            _state.TASKS.pop()
            self._requests = self._requests[:-1]

    @property
    def request(self):
        """What is known about the running attempt."""
        if not self._requests:
            if self._arguments is None:
                return Context(called_directly=True)
            self._requests = (of_attempt(self, *self._arguments),)
        return self._requests[-1]

    request_stack = property(lambda self: self)

    @property
    def top(self):
        """The request, as `request_stack.top`."""
        return self.request

    def push_request(self, *args, **kwargs):
        """Makes a request the current one, for tests."""
        self._requests = (*self._requests, Context(*args, **{"called_directly": False, **kwargs}))

    def pop_request(self):
        """Takes it away again."""
        self._requests = self._requests[:-1]

    def call(self, args, kwargs):
        """Runs one attempt with arguments from JSON; raises `Ended` when it does not succeed."""
        args = errback.objects(args)
        self._arguments = (args, kwargs)
        _state.TASKS.append(self)
        self._send("task_prerun", args=args, kwargs=kwargs)
        state, end = states.FAILURE, None
        try:
            try:
                end = value = self._attempt(args, kwargs)
                state = states.SUCCESS
            except Retry as error:
                state, end = states.RETRY, error
                raise self._retry_told(error) from None
            except Reject as error:
                state, end = states.REJECTED, error
                raise rejected(error) from None
            except Ignore as error:
                state, end = states.IGNORED, error
                return self._ignored(error)
            except Ended as error:
                # It was replaced: nothing of it ends.
                state, end = states.IGNORED, error
                raise
            except BaseException as error:
                end = error
                self._handle("on_failure", error)
                raise ended(error) from None
            self._handle_success(value)
            return value
        finally:
            self._finish(state, end, args, kwargs)
            _state.TASKS.pop()
            self._requests, self._arguments = (), None

    def _attempt(self, args, kwargs):
        if type(self).before_start is not Task.before_start:
            self.before_start(self.request.id, args, kwargs)
        value = self._with_autoretry(args, kwargs) if self.autoretry_for else self.run(*args, **kwargs)
        if self._requests and self._requests[0]._retry is not None:
            # `retry(throw=False)`: there is one message for the call, so it is the retry.
            raise self._requests[0]._retry
        return value

    def _with_autoretry(self, args, kwargs):
        try:
            return self.run(*args, **kwargs)
        except (Ended, Ignore, Reject, Retry):
            raise
        except BaseException as error:
            if isinstance(error, tuple(self.dont_autoretry_for)):
                raise
            if not isinstance(error, tuple(self.autoretry_for)):
                raise
            options = dict(self.retry_kwargs)
            if self.retry_backoff:
                options["countdown"] = backoff_of(
                    int(max(1.0, float(self.retry_backoff))),
                    self.request.retries,
                    self.retry_backoff_max,
                    self.retry_jitter,
                )
            self.retry(exc=error, **options)

    def _ignored(self, error):
        """Nobody is told of an end, unless one was set by hand."""
        state, meta = self._requests[0]._by_hand if self._requests else (None, None)
        if state == states.SUCCESS:
            return meta
        if state == states.FAILURE:
            known = meta if isinstance(meta, dict) else {}
            message = known.get("exc_message", [meta])
            message = message if isinstance(message, (list, tuple)) else [message]
            kind, module = known.get("exc_type", "Exception"), known.get("exc_module", "builtins")
            raise Ended("rejected", told(module, kind, message)) from None
        raise Ended("ignored") from None

    def _retry_told(self, error):
        reason = failure(error.exc if error.exc is not None else error, with_trace=False)
        self._handle("on_retry", error.exc or error, error)
        reason = reason._replace(traceback=trace(error))
        return Ended("retry", reason, error.after_ms, error.options)

    # Asking to be run again.

    def retry(
        self,
        args=None,
        kwargs=None,
        exc=None,
        throw=True,
        eta=None,
        countdown=None,
        max_retries=None,
        **options,
    ):
        """Raises `Retry`, so that this attempt ends and the task is run again later."""
        request = self.request
        if request.called_directly:
            raise_with_context(exc or Retry("Task can be retried", None))
        most = self.max_retries if max_retries is None else max_retries
        retries = request.retries + 1
        own_args, own_kwargs = tuple(request.args or ()), dict(request.kwargs or {})
        args, kwargs = self._given_anew(args, kwargs, own_args, own_kwargs)
        if most is not None and retries > most:
            if exc is not None:
                raise_with_context(exc)
            args = own_args if args is None else tuple(args)
            kwargs = own_kwargs if kwargs is None else kwargs
            raise self.MaxRetriesExceededError(
                f"Can't retry {self.name}[{request.id}] args:{args} kwargs:{kwargs}",
                task_args=args,
                task_kwargs=kwargs,
            )
        if args is not None and tuple(args) != own_args:
            options["args"] = list(args)
        if kwargs not in (None, own_kwargs):
            options["kwargs"] = kwargs
        if max_retries is not None:
            options["max_retries"] = max_retries
        if eta is None and countdown is None:
            countdown = self.default_retry_delay
        error = Retry(exc=exc, when=eta or countdown, is_eager=request.is_eager)
        error.after_ms = after_ms(eta, countdown)
        error.options = retry_options(options)
        if throw:
            raise error
        request._retry = error
        return error

    def _given_anew(self, args, kwargs, own_args, own_kwargs):
        """A parameter that a retry gives anew is given once, whichever way it was given before."""
        parameters = inspect.signature(self.run).parameters
        named = [name for name, it in parameters.items() if it.kind is it.POSITIONAL_OR_KEYWORD]
        if args is not None and kwargs is None:
            taken = named[: len(args)]
            kwargs = {name: value for name, value in own_kwargs.items() if name not in taken}
        elif kwargs is not None and args is None:
            places = dict(zip(parameters, range(len(own_args)), strict=False))
            args, kwargs = list(own_args), dict(kwargs)
            for name in [name for name in kwargs if name in named and name in places]:
                args[places[name]] = kwargs.pop(name)
        return args, kwargs

    # What a subclass may say at each turn.

    def before_start(self, task_id, args, kwargs):
        """Called before an attempt."""

    def on_success(self, retval, task_id, args, kwargs):
        """Called after an attempt that succeeded."""

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        """Called after one that failed."""

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        """Called after one that wants to be run again."""

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        """Called after each."""

    def _handle(self, name, error, shown=None):
        if getattr(type(self), name) is getattr(Task, name) and not _signal(name).receivers:
            return
        einfo = ExceptionInfo(shown or error)
        args, kwargs = self._arguments
        self._quietly(name, error, self.request.id, args, kwargs, einfo)
        if name == "on_retry":
            self._send("task_retry", request=self.request, reason=shown, einfo=einfo)
        else:
            self._send(
                "task_failure", exception=error, args=args, kwargs=kwargs, traceback=einfo.tb, einfo=einfo
            )

    def _handle_success(self, value):
        args, kwargs = self._arguments
        if type(self).on_success is not Task.on_success:
            self._quietly("on_success", value, self.request.id, args, kwargs)
        if signals.task_success.receivers:
            signals.task_success.send(self, result=value)

    def _finish(self, state, end, args, kwargs):
        if type(self).after_return is not Task.after_return:
            einfo = ExceptionInfo(end) if isinstance(end, BaseException) else None
            self._quietly("after_return", state, end, self.request.id, args, kwargs, einfo)
        self._send("task_postrun", args=args, kwargs=kwargs, retval=end, state=state)

    def _quietly(self, name, *arguments):
        """A handler that fails does not change how the attempt ended."""
        try:
            getattr(self, name)(*arguments)
        except Exception:
            signals._log.exception("%s of %s raised", name, self.name)

    def _send(self, name, **named):
        signal = getattr(signals, name)
        if signal.receivers:
            if name in ("task_prerun", "task_postrun", "task_failure"):
                named["task_id"] = self.request.id
            if name in ("task_prerun", "task_postrun"):
                named["task"] = self
            signal.send(self, **named)

    # What a running task may say.

    def update_state(self, task_id=None, state=None, meta=None, **kwargs):
        """Shows a state such as ``PROGRESS`` to whoever asks for the result."""
        if task_id is not None and task_id != self.request.id:
            raise NotSupported(f"{self.name}: update_state() of another task")
        if state in (states.SUCCESS, states.FAILURE):
            # For a task that sets its own end and then raises `Ignore`.
            self.request._by_hand = state, meta
            return
        host().progress(state, _json.dumps(meta))

    def replace(self, sig):
        """Ends this attempt, and has a signature take its place: its id, its links, its chord."""
        if not getattr(sig, "tasks", True) and sig.get("subtask_type") == "chain":
            raise ImproperlyConfigured("Cannot replace with an empty chain")
        return self.on_replace(sig)

    def on_replace(self, sig):
        """What a task class may have more to say of its replacement; this does it."""
        if self.request.is_eager:
            return sig.apply().get()
        raise Ended("replaced", options=_json.dumps(sig))

    def add_to_chord(self, sig, lazy=False):
        """Sends one more member of the chord that this task is a member of."""
        if lazy:
            raise NotSupported(f"{self.name}: add_to_chord(lazy=True); the host sends it")
        if not self.request.chord:
            raise ValueError("Current task is not member of any chord")
        return result_from_tuple(ctx.add_to_chord(sig))

    def send_event(self, type_, retry=True, retry_policy=None, **fields):
        """Celery's custom events have no place in the contract; a log line tells the same."""
        host().log("info", type_, _json.dumps(fields))

    def add_trail(self, result):
        """The host keeps the list of children itself."""
        return result

    def start_strategy(self, app, consumer, **kwargs):
        """Workers of Celery's have strategies."""
        raise NotSupported("start_strategy(): Lovage is the worker")

    @property
    def backend(self):
        """There is none in a sandbox."""
        raise NotSupported(f"{self.name}.backend: use update_state(), or return the value")

    @property
    def __name__(self):
        return type(self).__name__

    def __repr__(self):
        return f"<@task: {self.name}>"

    def __reduce__(self):
        return str(self.name)

    def __json__(self):
        raise TypeError(f"Object of type {type(self).__name__} is not JSON serializable")

    @classmethod
    def bind(cls, app):
        """Belongs to an app."""
        cls.app = app
        return app

    def manifest(self):
        """Its entry in the module's manifest."""
        return entry(self)


def _signal(handler):
    return signals.task_retry if handler == "on_retry" else signals.task_failure


__all__ = ["Context", "ExceptionInfo", "Task"]
