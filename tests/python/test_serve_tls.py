"""`oxembed serve` over TLS: REST and gRPC on one port, who is trusted, and a certificate that is replaced."""

from __future__ import annotations

import signal
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from conftest import PATIENCE
from grpc_clients import connected, messages, rows
from servers import Server, refused, serving, wait_for

from oxembed import Embedder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP to send")


def write(authority: trustme.CA, folder: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    issued = authority.issue_cert(name)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return certificate, key


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextmanager
def secured(authority: trustme.CA, folder: Path, *arguments: str) -> Iterator[Server]:
    certificate, key = write(authority, folder)
    files = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
    with serving("--provider", "cpu", *files, *arguments) as server:
        server.tls = trusting(authority)
        yield server


def channel_to(authority: trustme.CA) -> Any:
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes())


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with secured(authority, tmp_path_factory.mktemp("tls"), "--header-timeout", "2") as running:
        yield running


def socket_to(server: Server) -> socket.socket:
    host, _, port = server.place.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def serial(server: Server) -> int:
    """Which certificate a new connection is shown."""
    assert server.tls is not None
    host = server.place.rpartition(":")[0]
    with socket_to(server) as plain, server.tls.wrap_socket(plain, server_hostname=host) as secure:
        shown = secure.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)


def test_rest_and_grpc_on_one_port(server: Server, authority: trustme.CA) -> None:
    assert server.url.startswith("https://")
    expected = Embedder(provider="cpu").encode(["a text"])
    answer = server.ask("/v1/embeddings", {"input": "a text"})
    assert answer.status == 200
    assert len(answer.json()["data"][0]["embedding"]) == 384
    with connected(server, channel_to(authority)) as client:
        found = rows(client.Embed(messages.EmbedRequest(texts=["a text"])))
    assert found.tobytes() == expected.tobytes()


def test_clients_choose_the_protocol(server: Server) -> None:
    for offered, chosen in [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if offered:
            context.set_alpn_protocols(offered)
        with socket_to(server) as plain, context.wrap_socket(plain) as secure:
            assert secure.selected_alpn_protocol() == chosen
            assert secure.version() == "TLSv1.3"


def test_a_stranger_is_not_trusted(server: Server) -> None:
    stranger = trustme.CA()
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"{server.url}/live", timeout=PATIENCE, context=trusting(stranger))
    with connected(server, channel_to(stranger)) as client:
        with pytest.raises(grpc.RpcError) as caught:
            client.Info(messages.InfoRequest(), timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert server.ask("/live").status == 200


def test_plain_http_is_told_so(server: Server) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(server.url.replace("https", "http") + "/live", timeout=PATIENCE)
    with caught.value as error:
        assert (error.code, error.read()) == (400, b"this port speaks TLS: use https:// URLs")


@pytest.mark.parametrize(
    "start", [b"", b"\x16\x03\x01", b"\x16" * 100, b"\0" * 100, b"POST / HTTP/1.1\r\n" + b"a" * 10**6]
)
def test_clients_that_stall_or_send_garbage_are_put_out(server: Server, start: bytes) -> None:
    # Reset or closed: a timeout of this side would be neither.
    with socket_to(server) as client, suppress(ConnectionResetError, BrokenPipeError):
        client.sendall(start)
        while client.recv(1000):
            pass
    assert server.ask("/live").status == 200


def test_what_is_no_tls_is_counted(server: Server) -> None:
    def counted() -> float:
        lines = server.ask("/metrics").body.decode().splitlines()
        reason = 'oxembed_closed_connections_total{reason="malformed"} '
        return sum(float(line.removeprefix(reason)) for line in lines if line.startswith(reason))

    before = counted()
    with socket_to(server) as client, suppress(ConnectionResetError):
        client.sendall(b"\x16" * 100)
        while client.recv(1000):
            pass
    wait_for(lambda: counted() == before + 1)


def test_a_service_is_asked_how_it_is_over_tls(server: Server) -> None:
    """By its address, for which the certificate need not be, and without its authority, which nobody told the probe."""
    host, _, port = server.place.rpartition(":")
    assert refused("--probe", f"https://{host}:{port}/ready") == (0, "")
    assert refused("--probe", f"https://localhost:{port}/live")[0] == 0
    status, message = refused("--probe", f"https://{host}:{port}/nowhere")
    assert (status, "404" in message) == (1, True)
    status, message = refused("--probe", f"http://{host}:{port}/ready")
    assert (status, "this port speaks TLS: use https:// URLs" in message) == (1, True)


def test_a_new_certificate_is_read_at_a_signal(authority: trustme.CA, tmp_path: Path) -> None:
    with secured(authority, tmp_path) as server, connected(server, channel_to(authority)) as client:
        before = serial(server)
        assert client.Info(messages.InfoRequest()).models
        write(authority, tmp_path)
        assert serial(server) == before
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: serial(server) != before)
        # A connection that was there goes on, and the service with it.
        assert client.Info(messages.InfoRequest()).models
        assert server.ask("/live").status == 200


BROKEN: dict[str, Callable[[Path, Path], object]] = {
    "no file": lambda certificate, key: certificate.unlink(),
    "no certificate": lambda certificate, key: certificate.write_text("none"),
    "half a certificate": lambda certificate, key: certificate.write_bytes(certificate.read_bytes()[:500]),
    "no key": lambda certificate, key: key.write_text("none"),
    "another key": lambda certificate, key: key.write_bytes(trustme.CA().issue_cert("a").private_key_pem.bytes()),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_certificate_is_refused_and_replaces_nothing(name: str, authority: trustme.CA, tmp_path: Path) -> None:
    with secured(authority, tmp_path) as server:
        before = serial(server)
        certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
        BROKEN[name](certificate, key)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("is not replaced" in line for line in server.log))
        assert serial(server) == before
        assert server.ask("/live").status == 200
    files = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
    for arguments in (files, [*files, "--check"]):
        status, message = refused("--provider", "cpu", *arguments)
        assert status == 1
        assert "--tls-" in message
        assert "traceback" not in message.lower()


def test_a_certificate_needs_its_key(authority: trustme.CA, tmp_path: Path) -> None:
    certificate, key = write(authority, tmp_path)
    for arguments, names in [
        (["--tls-certificate", str(certificate)], "--tls-key"),
        (["--tls-key", str(key)], "--tls-certificate"),
        (["--tls-client-ca", str(certificate)], "--tls-client-ca"),
    ]:
        status, message = refused("--provider", "cpu", *arguments)
        assert (status, names in message) == (1, True), message


def test_clients_need_a_certificate_where_that_is_asked_for(authority: trustme.CA, tmp_path: Path) -> None:
    clients, strangers = trustme.CA(), trustme.CA()
    vouching = tmp_path / "clients.pem"
    vouching.write_bytes(clients.cert_pem.bytes())
    with secured(authority, tmp_path, "--tls-client-ca", str(vouching)) as server:
        for issuer in (None, strangers):
            server.tls = trusting(authority)
            if issuer is not None:
                issuer.issue_cert("stranger.example").configure_cert(server.tls)
            # Their certificate is looked at after the handshake of TLS 1.3, for the client: what comes first fails.
            with pytest.raises((OSError, urllib.error.URLError)):
                server.ask("/live")
        server.tls = trusting(authority)
        known = clients.issue_cert("client.example")
        known.configure_cert(server.tls)
        assert server.ask("/live").status == 200
        chain = b"".join(part.bytes() for part in known.cert_chain_pems)
        credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), known.private_key_pem.bytes(), chain)
        with connected(server, credentials) as client:
            assert client.Info(messages.InfoRequest()).models


def test_the_end_comes_while_connections_are_open(authority: trustme.CA, tmp_path: Path) -> None:
    with secured(authority, tmp_path) as server, connected(server, channel_to(authority)) as client:
        answers = client.EmbedStream(iter([messages.StreamedRequest(id=1, request=messages.EmbedRequest(texts=["a"]))]))
        assert next(answers).response.dimension == 384
        assert server.stop() == 0
