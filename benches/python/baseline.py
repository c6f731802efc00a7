"""The programs that oxembed is compared with: pure Python over onnxruntime and tokenizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

MAX_TOKENS = 256
CPU = ("CPUExecutionProvider",)
Providers = Sequence[str | tuple[str, dict[str, str]]]


def session(
    onnx_file: Path,
    threads: int,
    providers: Providers = CPU,
    settings: Mapping[str, str] | None = None,
    *,
    arena: bool = True,
) -> onnxruntime.InferenceSession:
    """A session with `threads` threads, set up for varying shapes; `settings` go before that, by their keys."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = arena
    best = {"session.intra_op.allow_spinning": "0", "session.record_ep_graph_assignment_info": "1"}
    for key, value in (best | dict(settings or {})).items():
        options.add_session_config_entry(key, value)
    # Else a provider that fails is replaced by the CPU, and the CPU is what is measured.
    return onnxruntime.InferenceSession(str(onnx_file), options, providers=list(providers), enable_fallback=0)


class Placed(NamedTuple):
    """What a provider has of a session's graph, by ONNX Runtime's record."""

    partitions: int
    nodes: int
    all_nodes: int


def placed(model: onnxruntime.InferenceSession, provider: str) -> Placed:
    """The part of a graph that `provider`, by ONNX Runtime's name, has.

    Providers that compile get a graph in partitions; those with kernels get single nodes, each a partition here.
    """
    parts = [(part.ep_name, len(part.get_nodes())) for part in model.get_provider_graph_assignment_info()]
    own = [nodes for name, nodes in parts if name == provider]
    return Placed(len(own), sum(own), sum(nodes for _, nodes in parts))


def tokenizer(folder: Path, max_tokens: int = MAX_TOKENS) -> Tokenizer:
    """The model's tokenizer, truncating at the model's limit, padding nothing."""
    loaded = Tokenizer.from_file(str(folder / "tokenizer.json"))
    loaded.enable_truncation(max_tokens)
    loaded.no_padding()
    return loaded


def run(model: onnxruntime.InferenceSession, rows: list[list[int]]) -> NDArray[np.float32]:
    """Pads `rows`, runs them, mean-pools and normalizes."""
    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    every = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(ids),
        "position_ids": np.tile(np.arange(longest), (len(rows), 1)),  # oxembed's own exports ask for them
    }
    feeds = {port.name: every[port.name] for port in model.get_inputs()}
    hidden = model.run(None, feeds)[0]
    weights = mask[:, :, None].astype(np.float32)
    pooled = (hidden * weights).sum(1) / weights.sum(1)
    result: NDArray[np.float32] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    return result


class Best:
    """As fast as pure Python gets: sorted by length, 512-token batches, one one-thread session a core.

    What is a single batch runs in a session with all threads. Budget and threads a session are for showing that these
    are the best.
    """

    def __init__(
        self,
        folder: Path,
        onnx_file: Path,
        sessions: int,
        *,
        max_tokens: int = MAX_TOKENS,
        threads_each: int = 1,
        token_budget: int = 512,
    ) -> None:
        self.tokenizer = tokenizer(folder, max_tokens)
        self.sessions = [session(onnx_file, threads_each) for _ in range(sessions)]
        self.onnx_file = onnx_file
        self.token_budget = token_budget

    @cached_property
    def whole(self) -> onnxruntime.InferenceSession:
        """The session with all threads, where there is a call that needs it."""
        return session(self.onnx_file, len(self.sessions))

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows of `texts`, in order."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
        batches: list[list[int]] = []
        start = 0
        while start < len(order):
            size = max(1, self.token_budget // len(rows[order[start]]))
            batches.append(order[start : start + size])
            start += size
        if len(batches) == 1:
            return run(self.whole, rows)
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        pending = iter(batches)

        def work(model: onnxruntime.InferenceSession) -> None:
            for batch in pending:
                vectors[batch] = run(model, [rows[index] for index in batch])

        with ThreadPoolExecutor(len(self.sessions)) as pool:
            list(pool.map(work, self.sessions))
        return vectors


class Usual:
    """The program most people write: batches of 32 in input order, one session with all threads."""

    def __init__(
        self,
        folder: Path,
        onnx_file: Path,
        threads: int,
        providers: Providers = CPU,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        self.tokenizer = tokenizer(folder, max_tokens)
        self.session = session(onnx_file, threads, providers)

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows of `texts`, in order."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        chunks = [run(self.session, rows[start : start + 32]) for start in range(0, len(rows), 32)]
        return np.concatenate(chunks)
