"""The one tree of errors. The type says whose fault it is, the HTTP status, the exit code, whether to retry.

    TunelineError
      UserError                 what was given is wrong; retrying changes nothing
        SpecError                 the project file or a pipeline
        OwnCodeError              the project's own code (`train.entry`) failed
        DataError                 rows, columns, files of data
        ModelError                a base model, adapter or package that does not fit or is not what it says
        ProofError                trained and served disagree, or a combination was never proven
        SettingError              an environment variable or option
        UnauthenticatedError      who asks is not known here
        ForbiddenError            who asks is known, or comes by a way, that may not do this
        NotFoundError             a name or id that is not there
        ConflictError             it cannot be now: a port, a lease, a run under way
          AlreadyExistsError        the name is taken
        PreconditionError         it cannot be before something else is done
        TooLargeError             more bytes than are taken
        MissingPartError          an optional package or program is not installed
      TransientError            the world's fault; the same thing may work in a moment
        NetworkError              a download or a server that did not answer
      ResourceError             the machine's fault: disk, memory
      InternalError             ours

A message is what happened, where, and the value; the hint is what to do next. `to_json` is the one wire form.
Secrets never go into either.
"""

from typing import Any


class TunelineError(Exception):
    """Base of all our errors. `message`: what, where, the value. `hint`: what to do next."""

    code = "error"
    http_status = 500
    exit_code = 1
    retry = False
    """Whether the same attempt may succeed if made again."""

    def __init__(self, message: str, *, hint: str = "", details: list[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details or []
        """Every single fault, where one input had several: one line each."""

    def to_json(self) -> dict[str, Any]:
        """The wire form: `{"code", "message", "hint", "details", "retry"}`."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
            "retry": self.retry,
        }

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "TunelineError":
        """The error of the class whose `code` the body names; `InternalError` if none does."""
        kind = _by_code().get(str(body.get("code")), InternalError)
        return kind(
            str(body.get("message", "")),
            hint=str(body.get("hint", "")),
            details=list(body.get("details", [])),
        )


class UserError(TunelineError):
    """What was given is wrong."""

    code, http_status = "bad_request", 400


class SpecError(UserError):
    """The project file or a pipeline is wrong; nothing ran."""

    code, http_status, exit_code = "invalid_spec", 422, 2


class OwnCodeError(UserError):
    """The project's own code failed; `details` are the last lines of its traceback."""

    code = "own_code"


class DataError(UserError):
    """The data is not what the project says it is."""

    code = "invalid_data"


class ModelError(UserError):
    """A base model, adapter or package does not fit, or is not what it says it is."""

    code = "invalid_model"


class ProofError(UserError):
    """What would be served is not proven to be what was trained."""

    code, http_status = "not_proven", 409


class SettingError(UserError):
    """An environment variable or option has a value that cannot be used."""

    code, exit_code = "invalid_setting", 2


class UnauthenticatedError(UserError):
    """Who asks did not say who it is, or nobody here knows it."""

    code, http_status = "unauthenticated", 401


class ForbiddenError(UserError):
    """Who asks may not do this, or not by this way."""

    code, http_status = "forbidden", 403


class NotFoundError(UserError):
    """No such thing."""

    code, http_status = "not_found", 404


class ConflictError(UserError):
    """It cannot be done now, because of something else that is there."""

    code, http_status = "conflict", 409


class AlreadyExistsError(ConflictError):
    """There is one of that name."""

    code = "already_exists"


class PreconditionError(UserError):
    """Something else must be done first."""

    code, http_status = "precondition", 400


class TooLargeError(UserError):
    """More bytes than are taken."""

    code, http_status = "too_large", 413


class MissingPartError(UserError):
    """An optional package or program is not installed; the hint gives the command that installs it."""

    code, http_status = "missing_part", 501


class TransientError(TunelineError):
    """The same thing may work in a moment."""

    code, http_status, retry = "transient", 503, True


class NetworkError(TransientError):
    """A download failed or a server did not answer."""

    code = "network"


class ResourceError(TunelineError):
    """The machine has not enough of something."""

    code, http_status = "no_resource", 507


class InternalError(TunelineError):
    """Our own fault."""

    code = "internal"


def _by_code() -> dict[str, type[TunelineError]]:
    found: dict[str, type[TunelineError]] = {}
    todo: list[type[TunelineError]] = [TunelineError]
    while todo:
        kind = todo.pop()
        found.setdefault(kind.code, kind)
        todo.extend(kind.__subclasses__())
    return found
