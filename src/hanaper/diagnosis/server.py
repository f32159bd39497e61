"""A server that runs with these settings, where one does."""

from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException

from hanaper.diagnosis.finding import Finding
from hanaper.settings import Settings, http_url

LONGEST_S = 5.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- where to ask a server that listens everywhere
_OK, _UNAVAILABLE = 200, 503
_LONGEST_REASON = 200


def server(settings: Settings) -> Iterator[Finding]:
    """What `/readyz` says."""
    check, host = "server", _ANY.get(settings.host, settings.host)
    url = f"{http_url(host, settings.port)}/readyz"
    connection = HTTPConnection(host, settings.port, timeout=LONGEST_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        status, body = answer.status, answer.read(_LONGEST_REASON).decode("ascii", "replace").strip()
    except ConnectionRefusedError:
        yield Finding.ok(check, f"none is running at {url}")
        return
    except (OSError, HTTPException) as error:
        reason = type(error).__name__ if not isinstance(error, OSError) else error.strerror or "no answer in time"
        yield Finding.problem(
            check, f"{url} does not answer ({reason})", "look at the log of the server, and restart it"
        )
        return
    finally:
        connection.close()
    if status == _OK and body == "ready":
        yield Finding.ok(check, f"{url} is ready")
    elif status == _UNAVAILABLE:
        yield Finding.problem(check, f"{url} is not ready: {body}", "mend what it names; its log has more")
    else:
        text = f"something else than hanaper answers at {url}"
        yield Finding.warning(check, text, "stop it, or choose another HANAPER_PORT")
