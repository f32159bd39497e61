"""From what went wrong to an answer: the one table."""

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from hanaper import log
from hanaper.clock import ClockWrong
from hanaper.idempotency.store import InFlight
from hanaper.protocol import codes
from hanaper.refusal import Fault, OutcomeUnknown, Quarantined, RateLimited, Refusal, TokenAway, Unavailable
from hanaper.signing.service import SigningService
from hanaper.web.admission import with_retry_after
from hanaper.web.idempotent import in_flight
from hanaper.web.responses import SignedResponse

RETRY_AFTER_S = "5"
QUARANTINE_RETRY_AFTER_S = "60"
"""A person has to lift it."""

_OF_ROUTING = {404: codes.UNKNOWN_ENDPOINT, 405: codes.METHOD_NOT_ALLOWED}
_logger = log.get(__name__)


def refusal_for(error: Exception) -> Refusal:  # noqa: PLR0911 -- a table: one line for each kind
    """What a caller is told.

    Refusals speak for themselves. Everything that nobody foresaw is 1706, and the details stay in the log.
    """
    match error:
        case Refusal():
            return error
        case HTTPException() if error.status_code in _OF_ROUTING:
            return Refusal(_OF_ROUTING[error.status_code], headers=dict(error.headers or {}))
        case ClientDisconnect():
            return Refusal(codes.UNREADABLE_BODY)  # Nobody is there to read it; the access log is.
        case InFlight():
            return in_flight()
        case Quarantined():
            return Refusal(codes.SERVICE_UNAVAILABLE, headers={"Retry-After": QUARANTINE_RETRY_AFTER_S})
        case Unavailable() | ClockWrong():
            if isinstance(error, Unavailable):  # The guard of the clock speaks for itself, once.
                outcome = "unknown" if isinstance(error, OutcomeUnknown) else "not done"
                _logger.error("unavailable", reason=str(error), outcome=outcome)
            return Refusal(codes.SERVICE_UNAVAILABLE, headers={"Retry-After": RETRY_AFTER_S})
        case Fault():
            # Something to mend, such as a product's damaged key. Its text is made for operators and holds no secret.
            _logger.error("fault", reason=str(error))
            return Refusal(codes.INTERNAL_ERROR)
    _logger.error("internal error", where=log.where(error))
    return Refusal(codes.INTERNAL_ERROR)


async def failure_response(error: Exception, signing: SigningService) -> Response:
    """The signed answer to a failure.

    Where signing itself is what fails, the status goes out with an empty body: an unsigned answer would be worse
    than none, and one with a wrong time worse still.
    """
    refusal = refusal_for(error)
    try:
        answer = await signing.answer_meanwhile(refusal.code, refusal.payload, product_key_id=refusal.product_key_id)
    except (ClockWrong, TokenAway):
        # The key is in a token that does not answer: the same holds for the clock. Both come back by themselves.
        return Response(status_code=503, headers={"Retry-After": RETRY_AFTER_S})
    except Exception as signing_error:  # noqa: BLE001 -- whatever it is, the caller gets an answer
        _logger.critical("an answer could not be signed", where=log.where(signing_error))
        return Response(status_code=500)
    if isinstance(refusal, RateLimited):
        answer = with_retry_after(answer, refusal.retry_after_s)
    return SignedResponse(answer, refusal.headers)
