"""The embedding service that people write in a quarter of an hour: FastAPI around sentence-transformers.

python benches/peer/fastapi_program.py FOLDER PORT
"""

from __future__ import annotations

import base64
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(sys.argv[1], device="cpu")


class Request(BaseModel):
    """OpenAI's request, as far as it matters here."""

    input: str | list[str]
    model: str = ""
    encoding_format: str = "float"


@app.get("/health")
def health() -> dict[str, bool]:
    """It is there."""
    return {"healthy": True}


@app.post("/v1/embeddings")
def embeddings(request: Request) -> dict[str, Any]:
    """One row a text, in order."""
    texts = [request.input] if isinstance(request.input, str) else request.input
    rows = model.encode(texts, normalize_embeddings=True)
    as_text = request.encoding_format == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode() if as_text else row.tolist(),
        }
        for index, row in enumerate(rows)
    ]
    return {"object": "list", "data": data, "model": request.model}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
