"""A real HTTP server on 127.0.0.1 that speaks the OpenAI protocol, with a model that sees colours.

Its answer is the word whose colour is nearest to the picture's mean colour, so that it can be computed by
hand, and is right only where the pixels arrived as they were. It can be told to misbehave, for every
picture or for one. From a script:

    python -m tests.model_adapters.tiny.openai_server --port 8000 --answers normal,cyst,benign
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import math
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]
FAULTS = (
    *("timeout", "trickle", "close", "garbage", "truncated", "no-choices", "empty-choices", "null-content"),
    *("no-logprobs", "malformed-logprobs", "nan-logprob", "infinite-logprob", "positive-logprob"),
    *("307", "400", "401", "403", "404", "429", "429-retry-after", "500", "503"),
)
OTHER = 0.1  # of the probability goes to tokens that begin no answer
SOFTNESS = 30.0  # colour distance that divides a probability by e


def colours_of(answers: Sequence[str]) -> dict[str, Colour]:
    """Give each word a colour of its own, the same one everywhere."""
    digests = (hashlib.sha256(word.encode()).digest() for word in answers)
    return {word: (d[0], d[1], d[2]) for word, d in zip(answers, digests, strict=True)}


def mean_colour(image: Image.Image) -> np.ndarray:
    """Return the mean of each channel, three float64."""
    return np.asarray(image.convert("RGB"), dtype=np.float64).mean(axis=(0, 1))


def probabilities(image: Image.Image, colours: Mapping[str, Colour]) -> dict[str, float]:
    """Return the probability of each word as the answer about a picture; they sum to 1 - OTHER."""
    mean = mean_colour(image)
    weights = {
        word: math.exp(-float(np.linalg.norm(mean - np.array(colour))) / SOFTNESS)
        for word, colour in colours.items()
    }
    total = sum(weights.values())
    return {word: (1 - OTHER) * weight / total for word, weight in weights.items()}


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    path: str
    body: Any
    image: Image.Image | None
    key: str | None
    at: float
    headers: Mapping[str, str]


@dataclass
class Fault:
    """What goes wrong, for one picture or all, for so many requests or for good."""

    name: str
    pixels: tuple[Any, ...] | None
    left: float


@dataclass
class Behaviour:
    """What the server understands, and what it knows.

    `token_length` cuts answers into tokens of so many characters. `goes_on` lets it go on with a begun
    answer, and refuse the two switches of a turn together. `refused` are parameters that it does not take.
    """

    colours: Mapping[str, Colour]
    models: tuple[str, ...] = ("tiny",)
    lists_models: bool = True
    key: str | None = None
    token_length: int = 100
    goes_on: bool = False
    gives_logprobs: bool = True
    most_logprobs: int = 20
    refused: tuple[str, ...] = ()
    states_usage: bool = True
    fingerprint: str | None = "fp_1"
    retry_after: str = "1"
    redirects_to: str = ""
    faults: list[Fault] = field(default_factory=list)


class ColourServer:
    """The running server; `asked` holds every request, in the order in which they came."""

    def __init__(
        self, answers: Mapping[str, Colour] | Sequence[str], *, port: int = 0, **behaviour: Any
    ) -> None:
        colours = dict(answers) if isinstance(answers, Mapping) else colours_of(answers)
        self.behaviour = Behaviour(colours, **behaviour)
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        self.released = threading.Event()  # lets timeouts end when the server does
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def base_url(self) -> str:
        """Return the address up to and with /v1."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def questions(self) -> list[Asked]:
        """Return the requests about pictures."""
        return [asked for asked in self.asked if asked.image is not None]

    def misbehave(self, fault: str, image: Image.Image | None = None, times: float = math.inf) -> None:
        """Let requests about a picture, or all, go wrong; `timeout` lasts until the server ends."""
        if fault not in FAULTS:
            raise ValueError(f"unknown fault {fault!r}")
        self.behaviour.faults.append(Fault(fault, None if image is None else _pixels(image), times))

    def behave(self) -> None:
        """End all faults."""
        self.behaviour.faults.clear()

    def start(self) -> ColourServer:
        """Serve in a thread."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End, so that connections are refused."""
        self.released.set()
        if self._thread.is_alive():
            self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> ColourServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def fault_for(self, image: Image.Image | None) -> str | None:
        """Return the fault that this request meets, and count it."""
        with self.lock:
            for fault in self.behaviour.faults:
                meant = fault.pixels is None or (image is not None and _pixels(image) == fault.pixels)
                if meant and fault.left > 0:
                    fault.left -= 1
                    return fault.name
        return None


def _pixels(image: Image.Image) -> tuple[Any, ...]:
    return image.size, image.convert("RGB").tobytes()


def _handler(server: ColourServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body go out apart: 40 ms else

        def log_message(self, *_: Any) -> None:
            return

        def do_GET(self) -> None:
            server.asked.append(self._asked(None, None))
            does = server.behaviour
            if self._is_refused():
                return None
            if self.path != "/v1/models" or not does.lists_models:
                return self._say(404, {"error": {"message": f"no {self.path} here"}})
            data = [{"id": model, "object": "model", "owned_by": "colours"} for model in does.models]
            return self._say(200, {"object": "list", "data": data})

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(raw)
            image = _image(body)
            server.asked.append(self._asked(body, image))
            if self.path != "/v1/chat/completions":
                return self._say(404, {"error": {"message": f"no {self.path} here"}})
            if self._is_refused():
                return None
            fault = server.fault_for(image)
            if fault is not None and self._went_wrong(fault, raw):
                return None
            return self._answer(body, image, fault)

        def _answer(self, body: dict[str, Any], image: Image.Image | None, fault: str | None) -> None:
            does = server.behaviour
            if body["model"] not in does.models:
                return self._say(404, {"error": {"message": f"The model {body['model']} does not exist."}})
            for name in does.refused:
                if name in body:
                    return self._say(400, {"error": {"message": f"Unsupported parameter: '{name}'"}})
            if body.get("top_logprobs", 0) > does.most_logprobs:
                return self._say(400, {"error": {"message": f"top_logprobs is at most {does.most_logprobs}"}})
            both = body.get("add_generation_prompt") and body.get("continue_final_message")
            if does.goes_on and both:
                return self._say(400, {"error": {"message": "cannot set both"}})
            if image is None:
                return self._say(400, {"error": {"message": "a picture is needed"}})
            return self._say(200, _spoilt(_completion(does, body, image), fault))

        def _went_wrong(self, fault: str, raw: bytes) -> bool:
            if fault == "timeout":
                server.released.wait(30)
                self.close_connection = True
            elif fault == "trickle":
                self._trickle()
            elif fault == "close":
                self.close_connection = True
            elif fault in ("garbage", "truncated"):
                text = b"<html>busy</html>" if fault == "garbage" else b'{"choices": [{"message": {"con'
                self._send(200, text, {})
            elif fault[:3].isdigit():
                # A careless server repeats what it was sent, the key and parts of the picture among it.
                sent = f"{self._key()} {raw[250:400].decode()} of {raw[:200].decode()}"
                said = {"error": {"message": f"no: {sent}"}}
                extra = {"Retry-After": server.behaviour.retry_after} if fault.endswith("after") else {}
                if fault == "307":
                    extra = {"Location": server.behaviour.redirects_to}
                self._send(int(fault[:3]), json.dumps(said).encode(), extra)
            else:
                return False
            return True

        def _trickle(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.close_connection = True
            for _ in range(1000):
                try:
                    self.wfile.write(b" ")
                except OSError:  # nobody waits any more
                    return
                if server.released.wait(0.05):
                    return

        def _is_refused(self) -> bool:
            key = server.behaviour.key
            if key is None or self._key() == key:
                return False
            self._say(401, {"error": {"message": f"Incorrect API key provided: {self._key()}"}})
            return True

        def _asked(self, body: Any, image: Image.Image | None) -> Asked:
            headers = {name.lower(): value for name, value in self.headers.items()}
            return Asked(self.path, body, image, self._key(), time.monotonic(), headers)

        def _key(self) -> str | None:
            header = self.headers.get("Authorization")
            return None if header is None else header.removeprefix("Bearer ")

        def _say(self, status: int, content: Any) -> None:
            self._send(status, json.dumps(content).encode(), {})

        def _send(self, status: int, content: bytes, extra: Mapping[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _image(body: Any) -> Image.Image | None:
    for turn in body.get("messages", ()):
        for part in turn["content"] if isinstance(turn["content"], list) else ():
            if part["type"] == "image_url":
                kind, _, data = part["image_url"]["url"].partition(";base64,")
                assert kind == "data:image/png"
                return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    return None


def _completion(does: Behaviour, body: dict[str, Any], image: Image.Image) -> dict[str, Any]:
    turns = body["messages"]
    question = next(
        part["text"]
        for turn in turns
        if turn["role"] == "user"
        for part in turn["content"]
        if part["type"] == "text"
    )
    goes_on = does.goes_on and body.get("continue_final_message")
    begun = turns[-1]["content"] if goes_on and turns[-1]["role"] == "assistant" else ""
    answers = _answers(does, question, image)
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    written, entries, finished = "", [], False
    while len(entries) < limit and not finished:
        tokens = _next_tokens(answers, begun + written, does.token_length)
        best = max(tokens, key=lambda token: tokens[token])
        entries.append(_entry(best, tokens, body.get("top_logprobs", 0)))
        finished = best == "<end>"
        written += "" if finished else best
    logprobs = {"content": entries} if body.get("logprobs") and does.gives_logprobs else None
    message = {"role": "assistant", "content": written}
    usage = {"prompt_tokens": 100, "completion_tokens": len(entries), "total_tokens": 100 + len(entries)}
    return {
        "object": "chat.completion",
        "model": body["model"],
        "system_fingerprint": does.fingerprint,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": logprobs,
                "finish_reason": "stop" if finished else "length",
            }
        ],
        "usage": usage if does.states_usage else None,
    }


def _answers(does: Behaviour, question: str, image: Image.Image) -> dict[str, float]:
    """Return the probability of each answer that a question offers: letters of options, else the words."""
    options = dict(re.findall(r"^([A-Z])\) (.+)$", question, re.MULTILINE))
    offered = options.values() if options else [word for word in does.colours if word in question]
    found = probabilities(image, {word: does.colours[word] for word in offered if word in does.colours})
    return {letter: found[word] for letter, word in options.items()} if options else found


def _next_tokens(answers: Mapping[str, float], before: str, length: int) -> dict[str, float]:
    """Return the probability of every next token; a first one begins with a space, as most tokenizers do."""
    left = {answer: p for answer, p in answers.items() if answer.startswith(before.lstrip())}
    total = sum(left.values()) + (0 if before else OTHER) or 1.0
    tokens: dict[str, float] = {} if before else {"\n": OTHER / 2, "The": OTHER / 2}
    for answer, p in left.items():
        rest = answer[len(before.lstrip()) :]
        token = ("" if before else " ") + rest[:length] if rest else "<end>"
        tokens[token] = tokens.get(token, 0.0) + p / total
    return tokens or {"<end>": 1.0}


def _entry(best: str, tokens: Mapping[str, float], top: int) -> dict[str, Any]:
    ranked = sorted(tokens.items(), key=lambda item: -item[1])[:top]
    listed = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in ranked]
    return {"token": best, "logprob": math.log(tokens[best]), "bytes": None, "top_logprobs": listed}


def _spoilt(content: dict[str, Any], fault: str | None) -> dict[str, Any]:
    choice = content["choices"][0]
    if fault == "no-choices":
        del content["choices"]
    elif fault == "empty-choices":
        content["choices"] = []
    elif fault == "null-content":
        choice["message"]["content"] = None
        choice["finish_reason"] = "stop"
    elif fault == "no-logprobs":
        choice["logprobs"] = None
    elif fault == "malformed-logprobs":
        choice["logprobs"] = {"content": [{"token": 7, "top_logprobs": "none"}]}
    elif fault is not None and choice["logprobs"] is not None:
        wrong = {"nan-logprob": math.nan, "infinite-logprob": -math.inf, "positive-logprob": 1.5}[fault]
        choice["logprobs"]["content"][0]["top_logprobs"][-1]["logprob"] = wrong
    return content


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server whose model sees colours.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--answers", required=True, help="comma-separated words that it may answer")
    parser.add_argument("--fault", choices=FAULTS, help="goes wrong for every question")
    arguments = parser.parse_args()
    with ColourServer(arguments.answers.split(","), port=arguments.port) as server:
        if arguments.fault:
            server.misbehave(arguments.fault)
        print(server.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
