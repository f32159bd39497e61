"""One call, to real servers: good ones, slow ones, huge ones, and those that speak something else."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.receiver import Handler, receiving, status

from hanaper import __version__
from hanaper.clock import utc_now
from hanaper.outbound import send
from hanaper.outbound.send import Outcome, post

BODY = "license_key=AAAA-BBBB&identifier=shop.example"
FLOOD = 64 * 1024 * 1024


def post_locally(url: str, longest_s: float = 60) -> Outcome:
    return post(url, BODY, private_networks=True, longest_s=longest_s)


def test_what_is_sent() -> None:
    with receiving() as receiver:
        assert post_locally(receiver.url("/ended?token=t&x=ä b#part")) == Outcome(True, "answered 204")
        received = receiver.received.get()
    assert received.line == "POST /ended?token=t&x=%C3%A4%20b HTTP/1.1"
    assert received.body == BODY
    assert received.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": f"hanaper/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/x-www-form-urlencoded",
        "content-length": str(len(BODY)),
        "connection": "close",
    }


@pytest.mark.parametrize("number", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(number: int) -> None:
    with receiving(status(number)) as receiver:
        assert post_locally(receiver.url()) == Outcome(True, f"answered {number}")


@pytest.mark.parametrize("number", [199, 300, 304, 400, 404, 429, 500, 503])
def test_nothing_else_is(number: int) -> None:
    with receiving(status(number)) as receiver:
        assert post_locally(receiver.url()) == Outcome(False, f"answered {number}")


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(number: int) -> None:
    with receiving() as other, receiving(status(number, Location=other.url())) as receiver:
        assert post_locally(receiver.url()) == Outcome(False, f"answered {number}")
        assert other.bodies() == []
        assert receiver.bodies() == [BODY]


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        assert post_locally(receiver.url()).delivered
        assert proxy.bodies() == []


def drip(handler: Handler, head: bytes) -> None:
    """Send a byte now and then, for as long as anybody listens."""
    handler.wfile.write(head)
    while True:
        handler.wfile.write(b"a")
        threading.Event().wait(0.02)


def silence(handler: Handler) -> None:
    handler.rfile.read(1)  # until the client hangs up


SLOW: dict[str, Callable[[Handler], None]] = {
    "silence": silence,
    "the status drips": lambda handler: drip(handler, b"HTTP/1.1 2"),
    "the head drips": lambda handler: drip(handler, b"HTTP/1.1 200 OK\r\nX-Slow: "),
}


@pytest.mark.parametrize("way", SLOW)
def test_a_slow_server_is_cut_off_at_the_deadline(way: str) -> None:
    # Without a deadline for all of it this would not end: each byte comes in time.
    with receiving(SLOW[way]) as receiver:
        assert post_locally(receiver.url(), longest_s=0.5) == Outcome(False, "no answer within 0.5 s")


def test_a_body_that_drips_is_cut_off_but_the_status_counts() -> None:
    with receiving(lambda handler: drip(handler, b"HTTP/1.1 200 OK\r\n\r\n")) as receiver:
        assert post_locally(receiver.url(), longest_s=0.5) == Outcome(True, "answered 200")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_takes_connections_and_says_nothing_is_cut_off(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
        assert post_locally(url, longest_s=0.3) == Outcome(False, "no answer within 0.3 s")


def test_a_slow_resolver_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        answer.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        assert post_locally("http://shop.example/", longest_s=0.3) == Outcome(False, "no answer within 0.3 s")
    finally:
        answer.set()


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        CONTINUE,
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\n",
        b"HTTP/1.1 200 OK\r\nX-Endless: ",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90,
        b"HTTP/1.1 ",
        b"",
    ],
)
def test_a_huge_answer_is_cut_off(head: bytes) -> None:
    sent: list[int] = []
    over = threading.Event()

    more = CONTINUE * 2_500 if head == CONTINUE else b"a" * 65_536

    def flood(handler: Handler) -> None:
        try:
            handler.wfile.write(head)
            while sum(sent) < FLOOD:
                handler.wfile.write(more)
                sent.append(len(more))
        finally:
            over.set()

    with receiving(flood) as receiver:
        outcome = post_locally(receiver.url())
        over.wait()
    assert outcome.text in ("answered 200", "what answered does not speak HTTP")
    assert sum(sent) < FLOOD


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.9\r\n", b"\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n"])
def test_who_speaks_something_else(answer: bytes) -> None:
    def speak(handler: Handler) -> None:
        handler.wfile.write(answer)

    with receiving(speak) as receiver:
        assert post_locally(receiver.url()) == Outcome(False, "what answered does not speak HTTP")


def test_who_hangs_up() -> None:
    with receiving(lambda _: None) as receiver:
        assert post_locally(receiver.url()) == Outcome(False, "the connection was closed without an answer")


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert post_locally(f"http://127.0.0.1:{port}/") == Outcome(False, "the connection failed: Connection refused")


def test_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert post_locally("http://shop.example/") == Outcome(False, "the host name cannot be resolved")


def test_the_second_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = gone.getsockname()[1]
        gone.close()
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (nobody, receiver.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert post_locally("http://shop.example/") == Outcome(True, "answered 204")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])
def test_a_private_address_is_refused_and_nothing_is_connected(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[object] = []
    with receiving() as receiver:
        url = f"http://{host}:{receiver.port}/ended?token=secret"
        monkeypatch.setattr(socket.socket, "connect", lambda _, address: connected.append(address))
        outcome = post(url, BODY, private_networks=False)
        assert receiver.bodies() == []
    assert connected == []
    assert not outcome.delivered
    assert outcome.text.startswith("refused: ")
    assert outcome.text.endswith(" is not a public address")


def test_a_name_is_resolved_once_and_that_address_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with receiving() as first, receiving() as second:
        ports = iter([first.port, second.port])

        def rebinding(host: str, *_: object, **__: object) -> list[object]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", next(ports)))]

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        assert post_locally("http://rebind.example:81/").delivered
        assert asked == ["rebind.example"]
        assert first.received.get().headers["host"] == "rebind.example:81"
        assert second.bodies() == []
        # The next attempt asks anew: names move.
        assert post_locally("http://rebind.example:81/").delivered
        assert second.bodies() == [BODY]


def echo(handler: Handler) -> None:
    handler.wfile.write(f"HTTP/1.1 500 {BODY}\r\nX: {BODY}\r\n\r\n{BODY}".encode())


def echo_badly(handler: Handler) -> None:
    handler.wfile.write(f"{BODY}\r\n\r\n".encode())


@pytest.mark.parametrize("answer", [echo, echo_badly])
def test_an_answer_that_repeats_the_license_key_is_not_quoted(answer: Callable[[Handler], None]) -> None:
    with structlog.testing.capture_logs() as logged, receiving(answer) as receiver:
        outcome = post_locally(receiver.url("/path-secret?token=secret"))
    assert not outcome.delivered
    for secret in ("AAAA", "secret", "shop.example"):
        assert secret not in outcome.text
        assert secret not in str(logged)


def test_what_nobody_thought_of_is_a_failed_attempt() -> None:
    with structlog.testing.capture_logs() as logged:
        assert post("http://shop.example/", "ä", private_networks=True) == Outcome(
            False, "not made: UnicodeEncodeError"
        )
    assert [line["event"] for line in logged] == ["a call failed for a reason nobody thought of"]


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A server's certificate for shop.example and 127.0.0.1, which this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = utc_now()
    names = [x509.DNSName("shop.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "certificate.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    send._tls.cache_clear()  # noqa: SLF001 -- the system's certificates are read once
    yield context
    send._tls.cache_clear()  # noqa: SLF001 -- as above


def resolve_here(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_tls_verifies_the_name_of_the_url_not_the_address(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(tls=tls) as receiver:
        resolve_here(monkeypatch, receiver.port)
        assert post_locally("https://shop.example/") == Outcome(True, "answered 204")
        assert receiver.received.get().headers["host"] == "shop.example"
        outcome = post_locally("https://other.example/")
        assert outcome.text.startswith("the certificate is not accepted: Hostname mismatch")
        assert receiver.bodies() == []


def test_a_certificate_nobody_trusts(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with receiving(tls=tls) as receiver:
        outcome = post_locally(f"https://127.0.0.1:{receiver.port}/")
        assert outcome.text.startswith("the certificate is not accepted: self")
        assert receiver.bodies() == []


def test_tls_where_none_is_spoken() -> None:
    with receiving() as receiver:
        outcome = post_locally(f"https://127.0.0.1:{receiver.port}/")
    assert outcome.text.startswith("TLS failed: ")
