"""HTTP/2 as bytes, for clients that no library would be: RFC 9113, and RFC 7541 without its tables and codes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x9
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
ENHANCE_YOUR_CALM = 11


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """A frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A field that is not indexed; neither part may be longer than 126 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def get(path: bytes) -> bytes:
    """The fields of a request."""
    # By their number in the static table: GET and http.
    return b"\x82\x86" + literal(b":path", path) + literal(b":authority", b"x")


def request(stream: int, path: bytes = b"/live") -> bytes:
    """A whole request."""
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, get(path))


def reset(stream: int) -> bytes:
    """Takes a request back."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", 8))


def frames(client: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of what comes, until the other side closes."""
    with client.makefile("rb") as stream:
        while head := stream.read(9):
            length = int.from_bytes(head[:3])
            kind, flags, number = struct.unpack(">BBI", head[3:])
            yield kind, flags, number, stream.read(length)
