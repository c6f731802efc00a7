"""A client of oxembed's gRPC service, generated from the .proto file as its users do."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from servers import Server

PROTO = Path(__file__).resolve().parents[2] / "proto" / "oxembed.proto"


@dataclass(frozen=True)
class Generated:
    """What protoc makes of the file."""

    messages: Any
    services: Any
    descriptors: bytes


@functools.cache
def generated() -> Generated:
    """Of the file in this repository, by protoc itself."""
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder, "descriptors.bin")
        outputs = [f"--python_out={folder}", f"--grpc_python_out={folder}", f"--descriptor_set_out={descriptors}"]
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTO.parent}", *outputs, PROTO.name]
        subprocess.run(command, check=True)
        sys.path.insert(0, folder)
        try:
            messages, services = (importlib.import_module(name) for name in ("oxembed_pb2", "oxembed_pb2_grpc"))
        finally:
            sys.path.remove(folder)
        return Generated(messages, services, descriptors.read_bytes())


# What was imported above, by a shorter name.
messages: Any = generated().messages


@contextmanager
def connected(server: Server, credentials: Any = None) -> Iterator[Any]:
    """The generated client; its channel is `.channel`."""
    # A channel of its own for each test, whatever was connected to that port before.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    secure = functools.partial(grpc.secure_channel, credentials=credentials) if credentials else grpc.insecure_channel
    with secure(server.place, options=options) as channel:
        client = generated().services.EmbeddingStub(channel)
        client.channel = channel
        yield client


def rows(response: Any) -> NDArray[np.float32]:
    """The vectors of an answer, one a row."""
    return np.array(response.values, dtype=np.float32).reshape(-1, response.dimension)
