"""The server that `vllm_server` starts answers a question about a picture."""

from __future__ import annotations

import base64
import io
import json
import urllib.request

import pytest

from tests.model_adapters.tiny.plain import picture

pytest.importorskip("vllm")


def test_the_server_answers_about_a_picture(vllm_server):
    buffer = io.BytesIO()
    picture(40, 32).save(buffer, format="PNG")
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "normal or benign?"},
    ]
    body = {
        "model": vllm_server.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 4,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 5,
    }
    request = urllib.request.Request(
        f"{vllm_server.base_url}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        answer = json.load(response)
    choice = answer["choices"][0]
    assert len(choice["logprobs"]["content"][0]["top_logprobs"]) == 5
    assert answer["usage"]["completion_tokens"] in range(1, 5)
