"""The way to a server: proxies, certificates and schemes, and the sentence where it is barred."""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from tenacity import wait_fixed

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io import chat_client
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.evalscope_run import run_evalscope
from rlkd_plugin.llm_io.ports import free_port
from rlkd_plugin.llm_io.proxies import is_this_machine, proxy_for
from tests.support.doors import ProxyServer, proxy_server, write_certificate, yes_server

pytestmark = pytest.mark.filterwarnings("error")

FAR = "http://judge.example:8000/v1"
PASSWORD = "hunter2-secret"


@pytest.fixture(autouse=True)
def no_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what this machine's own environment says."""
    monkeypatch.setattr(chat_client, "BACK_OFF", wait_fixed(0.02))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ask(url: str, *, usage: Usage | None = None, startup_patience: float = 0.3) -> str:
    """Send one request to a judge; return what it says."""
    client = ChatClient(
        Endpoint("judge", (url,), "m", "JUDGE_KEY"),
        request_timeout=5.0,
        patience=5.0,
        startup_patience=startup_patience,
        usage=usage or Usage(),
    )

    async def run() -> str:
        async with client:
            messages = [{"role": "user", "content": "hello"}]
            return (await client.complete(messages, max_tokens=8, temperature=0.0)).text

    return asyncio.run(run())


def failure(url: str, usage: Usage | None = None, **options: float) -> str:
    """Return the sentence in which a request ends."""
    with pytest.raises(EndpointError) as caught:
        ask(url, usage=usage, **options)
    assert not caught.value.refuses_text
    return str(caught.value)


def at_once(url: str) -> str:
    """Return the sentence in which the first try of a request ends."""
    usage = Usage()
    sentence = failure(url, usage, startup_patience=60)
    assert usage.requests == 1
    return sentence


# --- which proxy ---


@pytest.mark.parametrize(
    ("url", "variables", "expected"),
    [
        (FAR, {"HTTP_PROXY": "http://p:3128"}, "http://p:3128"),
        (FAR, {"http_proxy": "http://p:3128"}, "http://p:3128"),
        (FAR, {"HTTP_PROXY": "p:3128"}, "http://p:3128"),
        (FAR, {"HTTP_PROXY": "http://u:s%40x@p:3128/"}, "http://p:3128"),
        (FAR, {"HTTPS_PROXY": "http://p:3128"}, None),
        (FAR, {"ALL_PROXY": "http://p:3128"}, "http://p:3128"),
        (FAR, {"ALL_PROXY": "socks5://s:1080", "HTTP_PROXY": "http://p:1"}, "http://p:1"),
        (FAR, {"HTTP_PROXY": ""}, None),
        (FAR, {"HTTP_PROXY": "http://p:1", "NO_PROXY": "judge.example"}, None),
        (FAR, {"HTTP_PROXY": "http://p:1", "NO_PROXY": ".example, other"}, None),
        (FAR, {"HTTP_PROXY": "http://p:1", "NO_PROXY": "judge.example:8000"}, None),
        (FAR, {"HTTP_PROXY": "http://p:1", "NO_PROXY": "judge.example:9000"}, "http://p:1"),
        (FAR, {"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        (FAR, {"HTTP_PROXY": "http://p:1", "no_proxy": "ample"}, "http://p:1"),
        ("http://10.1.2.3/v1", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, None),
        (
            "http://11.1.2.3/v1",
            {"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"},
            "http://p:1",
        ),
        ("http://10.1.2.3/v1", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.1.2.3"}, None),
        ("https://judge.example/v1", {"HTTPS_PROXY": "http://[::1]:3128"}, "http://[::1]:3128"),
        ("http://127.0.0.1:8000/v1", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://localhost:8000/v1", {"ALL_PROXY": "http://p:1"}, None),
        ("http://[::1]:8000/v1", {"HTTP_PROXY": "http://p:1"}, None),
    ],
)
def test_the_proxy_of_a_url(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str], expected: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(url)
    assert (found.shown if found else None) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("socks5://user:hunter2-secret@s:1080", "a SOCKS proxy"),
        ("http://", "no URL of a proxy"),
        ("http://user:hunter2-secret@p:port", "no URL of a proxy"),
        ("ftp://p:1", "no URL of a proxy"),
    ],
)
def test_a_proxy_that_is_none_is_an_error(
    monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    sentence = at_start(FAR)
    assert words in sentence and "ALL_PROXY" in sentence and "NO_PROXY" in sentence
    assert PASSWORD not in sentence


def at_start(url: str) -> str:
    """Return the sentence in which a client ends before its first request."""
    usage = Usage()
    sentence = failure(url, usage)
    assert usage.requests == 0
    return sentence


@pytest.mark.parametrize(
    "url", ["http://127.1.2.3/v1", "http://localhost./v1", "http://a.localhost", "http://[::1]:1"]
)
def test_this_machine_by_its_names(url: str) -> None:
    assert is_this_machine(url)


@pytest.mark.parametrize(
    "url", ["http://localhost.lan/v1", "http://128.0.0.1/v1", "http://mylocalhost"]
)
def test_other_machines(url: str) -> None:
    assert not is_this_machine(url)


# --- through a proxy ---


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProxyServer]:
    """Run a proxy before a server that says yes, and name it for both schemes."""
    with yes_server() as (url, _), proxy_server() as running:
        running.target = ("127.0.0.1", urlsplit(url).port or 0)
        monkeypatch.setenv("HTTP_PROXY", running.url)
        monkeypatch.setenv("HTTPS_PROXY", running.url)
        yield running


def test_a_server_is_asked_through_the_proxy(proxy: ProxyServer) -> None:
    """Its name is the proxy's to look up."""
    assert ask(FAR) == "yes"
    assert proxy.asked == [f"POST {FAR}/chat/completions HTTP/1.1"]


def test_a_server_over_tls_is_asked_through_the_proxy(
    proxy: ProxyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = write_certificate(tmp_path, name="judge.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with yes_server(file) as (url, _):
        proxy.target = ("127.0.0.1", urlsplit(url).port or 0)
        assert ask("https://judge.example/v1") == "yes"
    assert proxy.asked == ["CONNECT judge.example:443 HTTP/1.1"]


def test_this_machine_is_asked_directly(proxy: ProxyServer) -> None:
    with yes_server() as (url, asked):
        assert ask(url) == "yes" and len(asked) == 1
    assert proxy.asked == []


def test_a_proxy_gets_user_and_password(
    proxy: ProxyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.login = f"user:{PASSWORD}"
    address = proxy.url.replace("://", f"://user:{PASSWORD}@")
    monkeypatch.setenv("HTTP_PROXY", address)
    assert ask(FAR) == "yes"


@pytest.mark.parametrize("url", [FAR, "https://judge.example/v1"])
def test_a_proxy_that_wants_a_password_ends_the_run(proxy: ProxyServer, url: str) -> None:
    proxy.login = f"user:{PASSWORD}"
    sentence = at_once(url)
    variable = "HTTPS_PROXY" if "https" in url else "HTTP_PROXY"
    assert f"the proxy {proxy.url} ({variable})" in sentence and "407" in sentence
    assert "USER:PASSWORD" in sentence and "NO_PROXY=judge.example" in sentence


@pytest.mark.parametrize("url", [FAR, "https://judge.example/v1"])
def test_a_wrong_password_does_not_show(
    proxy: ProxyServer, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.login = "user:another"
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy.url.replace("://", f"://user:{PASSWORD}@"))
    assert PASSWORD not in at_once(url) + caplog.text


@pytest.mark.parametrize("url", [FAR, "https://judge.example/v1"])
def test_a_proxy_that_refuses_is_named(proxy: ProxyServer, url: str) -> None:
    proxy.status = 403
    sentence = at_once(url)
    assert f"the proxy {proxy.url}" in sentence and "403" in sentence
    assert "NO_PROXY=judge.example" in sentence


@pytest.mark.parametrize("url", [FAR, "https://judge.example/v1"])
def test_a_proxy_that_does_not_reach_the_server_is_retried_and_named(
    proxy: ProxyServer, url: str
) -> None:
    proxy.status = 502
    sentence = failure(url)
    assert f"the proxy {proxy.url}" in sentence and "502" in sentence
    assert "RLKD_STARTUP_PATIENCE" in sentence and len(proxy.asked) > 1


@pytest.mark.parametrize("url", [FAR, "https://judge.example/v1"])
def test_a_proxy_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The server's own host is not said to be unknown."""
    down = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("ALL_PROXY", f"http://user:{PASSWORD}@{down}")
    sentence = failure(url)
    assert f"the proxy http://{down} (ALL_PROXY)" in sentence and "cannot be reached" in sentence
    assert "unknown" not in sentence and PASSWORD not in sentence


def test_a_proxy_whose_host_is_unknown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://no-such-proxy.invalid:3128")
    sentence = at_once(FAR)
    assert "the host of the proxy http://no-such-proxy.invalid:3128 (HTTP_PROXY)" in sentence
    assert "correct HTTP_PROXY" in sentence and "host of http://judge" not in sentence


@pytest.mark.parametrize(
    ("url", "before", "inside"),
    [
        ("http://127.0.0.1:8000/v1", None, "127.0.0.1"),
        ("http://localhost:8000/v1", "a.b", "a.b,localhost"),
        (FAR, "a.b", "a.b"),
        (FAR, None, None),
    ],
)
def test_evalscope_asks_this_machine_directly(
    monkeypatch: pytest.MonkeyPatch, url: str, before: str | None, inside: str | None
) -> None:
    """Its own client knows the variables, but not that a proxy never reaches this machine."""
    if before:
        monkeypatch.setenv("NO_PROXY", before)
    seen = []
    fake = SimpleNamespace(run_task=lambda task: seen.append(os.environ.get("NO_PROXY")))
    monkeypatch.setitem(sys.modules, "evalscope", fake)
    run_evalscope(SimpleNamespace(api_url=url))
    assert (seen, os.environ.get("NO_PROXY")) == ([inside], before)


# --- certificates and schemes ---


def test_a_self_signed_certificate_ends_the_start_at_once(tmp_path: Path) -> None:
    with yes_server(write_certificate(tmp_path)) as (url, _):
        sentence = at_once(url)
    assert "certificate cannot be trusted" in sentence and "self-signed" in sentence
    assert "SSL_CERT_FILE" in sentence and url in sentence
    assert "has failed for" not in sentence  # as the end of the patience would say


def test_a_named_certificate_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with yes_server(file) as (url, _):
        assert ask(url) == "yes"


@pytest.mark.parametrize(
    ("options", "trusted", "words"),
    [
        (
            {"name": "other.example"},
            True,
            "write the host name of its certificate in RLKD_JUDGE_BASE_URL",
        ),
        ({"days": (-9, -1)}, True, "renew it, or correct this machine's clock"),
        ({"days": (1, 9)}, True, "renew it, or correct this machine's clock"),
    ],
)
def test_what_else_is_wrong_with_a_certificate(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    trusted: bool,
    words: str,
) -> None:
    file = write_certificate(tmp_path, **options)  # type: ignore[arg-type]
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with yes_server(file) as (url, _):
        assert words in at_once(url)


def test_a_file_of_other_certificates_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_certificate(tmp_path, name="other.example")
    with yes_server(write_certificate(tmp_path)) as (url, _):
        monkeypatch.setenv("SSL_CERT_FILE", str(other))
        assert f"SSL_CERT_FILE={other} does not contain it" in at_once(url)
        monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
        assert "SSL_CERT_FILE=/no/such/file.pem, which is not a file" in at_once(url)


def test_https_to_a_port_without_tls(tmp_path: Path) -> None:
    with yes_server() as (url, _):
        sentence = at_once(url.replace("http://", "https://"))
    assert "does not speak TLS" in sentence and "write http://" in sentence
    assert "RLKD_JUDGE_BASE_URL" in sentence


def test_http_to_a_port_with_tls(tmp_path: Path) -> None:
    with yes_server(write_certificate(tmp_path)) as (url, _):
        sentence = at_once(url.replace("https://", "http://"))
    assert "speaks TLS" in sentence and "write https://" in sentence


@pytest.fixture
def nginx() -> Iterator[str]:
    """Serve what nginx says to plain HTTP at a port for TLS."""
    body = b"<html>The plain HTTP request was sent to HTTPS port</html>"
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(head + body)
                connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join(5)


def test_a_server_that_says_so_is_believed(nginx: str) -> None:
    assert "write https:// in RLKD_JUDGE_BASE_URL" in at_once(nginx)
