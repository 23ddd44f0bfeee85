"""What stands between the plugin and a server, for the tests: proxies, certificates, TLS."""

import base64
import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

REPLY = {
    "choices": [{"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}


def write_certificate(
    folder: Path, *, name: str = "127.0.0.1", days: tuple[int, int] = (-1, 1)
) -> Path:
    """Write a self-signed certificate and its key into one file.

    Args:
        folder: for the file.
        name: the host that it is for, a name or an address.
        days: from when to when it is valid, from today.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    try:
        other: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        other = x509.DNSName(name)
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([other]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@contextmanager
def yes_server(certificate: Path | None = None) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve yes to every chat, with a certificate over TLS: the URL, and the bodies so far."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            data = json.dumps(REPLY).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Say nothing of handshakes that failed."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    scheme = "https" if certificate else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class ProxyServer:
    """A proxy on loopback.

    Attributes:
        status: what it answers to every request, None to pass it on.
        login: `user:password` that it asks for.
        target: where it passes everything on to, whatever host is asked for.
        asked: the first lines of the requests so far.
    """

    status: int | None = None
    login: str = ""
    target: tuple[str, int] = ("127.0.0.1", 1)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def serve(self, listener: socket.socket) -> None:
        """Take connections until the socket is closed."""
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(1 << 16)
                if not data:
                    return
                head += data
            self.asked.append(head.split(b"\r\n", 1)[0].decode())
            wanted = base64.b64encode(self.login.encode())
            if self.login and b"Basic " + wanted not in head:
                client.sendall(_answer(407))
            elif self.status:
                client.sendall(_answer(self.status))
            else:
                with socket.create_connection(self.target) as server:
                    if head.startswith(b"CONNECT"):
                        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    else:
                        server.sendall(head)
                    back = threading.Thread(target=_pipe, args=(server, client), daemon=True)
                    back.start()
                    _pipe(client, server)
                    back.join(5)


@contextmanager
def proxy_server(**options: Any) -> Iterator[ProxyServer]:
    """Run a proxy while the body runs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = ProxyServer(**options, url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)


def _answer(status: int) -> bytes:
    return f"HTTP/1.1 {status} So It Is\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
