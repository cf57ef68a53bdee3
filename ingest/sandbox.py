"""Parsing in a child process that has no network, no files and bounded memory and time.

The parent reads the file and passes its bytes; the child (`ingest.sandbox_child`) answers with one frame for
each document. Whatever a file does to the child, the parent yields a FailedDocument and goes on with a fresh
child.

Frames are a 4-byte big-endian length and that many bytes of JSON: `["media", type]`, `["document", {…}]`,
`["failed", {…}]`, then `["end", again]`, where `again` says whether the child can take another file.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import select
import signal
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import BoundedSemaphore
from types import TracebackType
from typing import Any

from kernel.records import Fact, FailedDocument, Heading, Link, ParsedDocument

LENGTH = struct.Struct(">I")
# openpyxl takes numpy and Pillow where it finds them: reading needs neither, and they bring threads and much
# memory.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); sys.modules.update(numpy=None, PIL=None); "
    "from ingest.sandbox_child import main; main(sys.argv[2], int(sys.argv[3]))"
)
_FRAME_OVERHEAD = 64 << 20  # for headings, links and facts, whose numbers are capped
_CHUNK = 1 << 20
OUT_OF_MEMORY = 77
"""Exit status of a child that had not even the memory to say so."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one file may take. Memory is what parsing adds to the child's address space, in bytes."""

    memory_bytes: int = 1 << 30
    cpu_seconds: int = 60
    wall_seconds: float = 90
    input_bytes: int = 200_000_000
    output_chars: int = 50_000_000


def out_of_memory(limits: Limits) -> str:
    """The reason of a document whose parsing took more memory than it may."""
    return f"needs more than {limits.memory_bytes >> 20} MB of memory to parse"


def encode(document: ParsedDocument | FailedDocument) -> list[Any]:
    """A document as the content of a frame."""
    if isinstance(document, FailedDocument):
        return ["failed", asdict(document)]
    fields = {name: getattr(document, name) for name in ParsedDocument.__slots__}
    fields["headings"] = [(x.start, x.level, x.title) for x in document.headings]
    fields["links"] = [(x.start, x.end, x.target) for x in document.links]
    fields["facts"] = [(x.subject, x.predicate, x.object, x.start, x.end) for x in document.facts]
    return ["document", fields]


def decode(kind: str, fields: dict[str, Any]) -> ParsedDocument | FailedDocument:
    """The document in a frame's content. Raises KeyError, TypeError or ValueError for anything else."""
    if kind == "failed":
        return FailedDocument(**fields)
    if kind != "document":
        raise ValueError(f"no such frame: {kind!r}")
    fields["headings"] = tuple(Heading(*x) for x in fields["headings"])
    fields["links"] = tuple(Link(*x) for x in fields["links"])
    fields["facts"] = tuple(Fact(*x) for x in fields["facts"])
    fields["pages"] = tuple(fields["pages"])
    if fields["groups"] is not None:
        fields["groups"] = tuple(fields["groups"])
    return ParsedDocument(**fields)


class ParserPool:
    """Parses files in at most `workers` children, started when needed. A context manager; threads may share
    it.

    A child is busy until the iterator it serves is exhausted or closed, so a thread that leaves `workers`
    iterators half read and asks for one more waits for ever.
    """

    def __init__(self, workers: int = 1, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._slots = BoundedSemaphore(workers)
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._living: set[_Child] = set()
        # A child is killed when the thread that started it ends (PR_SET_PDEATHSIG): one thread starts them
        # all.
        self._starter = ThreadPoolExecutor(1, "parser-starter")

    def __enter__(self) -> ParserPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all children; an iterator that is still read from ends with a FailedDocument."""
        self._starter.shutdown()
        while not self._idle.empty():
            self._drop(self._idle.get())
        for child in tuple(self._living):
            child.stop()

    def parse(self, path: Path, name: str | None = None) -> Iterator[ParsedDocument | FailedDocument]:
        """The documents of the file at `path`, as `parse_bytes`; only a regular file is read, never through a
        link."""
        try:
            data = _read(path, self.limits.input_bytes)
        except OSError as error:
            yield FailedDocument(_unreadable(error))
            return
        yield from self.parse_bytes(data, name or path.name)

    def parse_bytes(self, data: bytes, name: str) -> Iterator[ParsedDocument | FailedDocument]:
        """The documents in `data`, streamed. A file that breaks a limit or its parser ends with a
        FailedDocument that says so; nothing is raised for a bad file."""
        if len(data) > self.limits.input_bytes:
            yield FailedDocument(_too_large(self.limits.input_bytes))
            return
        with self._slots:
            child = self._take()
            try:
                yield from child.parse(data, name)
            finally:
                if child.reusable:
                    self._idle.put(child)
                else:
                    self._drop(child)

    def _take(self) -> _Child:
        while not self._idle.empty():
            child = self._idle.get()
            if child.alive():
                return child
            self._drop(child)
        child = self._starter.submit(_Child, self.limits).result()
        self._living.add(child)
        return child

    def _drop(self, child: _Child) -> None:
        self._living.discard(child)
        child.close()


class _StoppedError(Exception):
    """The child is gone or has to go: why, in words for an admin."""


class _Child:
    """One child process and the pipes to it."""

    def __init__(self, limits: Limits) -> None:
        self.reusable = True
        self._limits = limits
        self._buffer = bytearray()
        self._waited = 0.0
        root = str(Path(__file__).resolve().parents[1])
        paths = [root, *(path for path in sys.path if Path(path).is_absolute() and path != root)]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-c",
                _BOOT,
                json.dumps(paths),
                json.dumps(asdict(limits)),
                str(os.getpid()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            start_new_session=True,  # an interrupt from the keyboard is for the parent
            bufsize=0,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a child without pipes")
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._in, False)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process, whoever is reading from it."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process and close the pipes."""
        self.stop()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def parse(self, data: bytes, name: str) -> Iterator[ParsedDocument | FailedDocument]:
        """The documents in `data`; `reusable` is true afterwards if the child can go on."""
        self.reusable = False
        self._waited = 0.0
        count, media_type = 0, "application/octet-stream"
        try:
            self._send(data, name)
            while True:
                kind, content = self._receive()
                if kind == "end":
                    self.reusable = bool(content)
                    return
                if kind == "media":
                    media_type = str(content)
                    continue
                document = decode(kind, content)
                yield document
                count += 1
        except _StoppedError as stopped:
            reason = str(stopped)
        except (KeyError, TypeError, ValueError):
            reason = "broke its parser, which gave no usable answer"
        if count:
            reason += f"; what followed its first {count} documents is missing"
        yield FailedDocument(reason, media_type)

    def _send(self, data: bytes, name: str) -> None:
        head = json.dumps({"name": name, "size": len(data)}).encode()
        for part in (LENGTH.pack(len(head)) + head, data):
            view = memoryview(part)
            while view:
                self._wait(self._in, select.POLLOUT)
                try:
                    view = view[os.write(self._in, view[:_CHUNK]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:  # it has ended; what it wrote before says more
                    return

    def _receive(self) -> tuple[str, Any]:
        length = LENGTH.unpack(self._read(LENGTH.size))[0]
        if length > 8 * self._limits.output_chars + _FRAME_OVERHEAD:
            raise _StoppedError(f"yields more than {self._limits.output_chars:,} characters of text")
        kind, content = json.loads(self._read(length))
        return str(kind), content

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._wait(self._out, select.POLLIN)
            chunk = os.read(self._out, _CHUNK)
            if not chunk:
                raise _StoppedError(self._why_ended())
            self._buffer += chunk
        content = bytes(self._buffer[:size])
        del self._buffer[:size]
        return content

    def _wait(self, pipe: int, event: int) -> None:
        """Wait for a pipe. Only the time spent here counts: the child does not pay for a slow reader."""
        poll = select.poll()
        poll.register(pipe, event)
        left = self._limits.wall_seconds - self._waited
        before = time.monotonic()
        ready = poll.poll(max(0, round(left * 1000)))
        self._waited += time.monotonic() - before
        if not ready:
            raise _StoppedError(f"took more than {self._limits.wall_seconds:g} s to parse")

    def _why_ended(self) -> str:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "broke its parser, which closed its output"
        if code == OUT_OF_MEMORY:
            return out_of_memory(self._limits)
        if code == -signal.SIGXCPU:
            return f"took more than {self._limits.cpu_seconds} s of processor time to parse"
        if code == -signal.SIGKILL:
            return "had its parser killed, most likely because the machine ran out of memory"
        if code < 0:
            cause = f"it is damaged or needs more than {self._limits.memory_bytes >> 20} MB of memory"
            return f"crashed its parser ({_signal_name(-code)}): {cause}"
        return f"ended its parser (exit status {code})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _read(path: Path, limit: int) -> bytes:
    """The bytes of a regular file. Raises OSError: EFBIG over the limit, ELOOP for a link, EINVAL for other
    kinds."""
    # Without O_NONBLOCK, opening a fifo waits for somebody to write to it.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        data = stream.read(limit + 1) if status.st_size <= limit else b""
        if status.st_size > limit or len(data) > limit:
            raise OSError(errno.EFBIG, _too_large(limit))
        return data


def _unreadable(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "is a symbolic link, not a regular file"
    if error.errno in {errno.EINVAL, errno.ENXIO, errno.EISDIR}:
        return "is not a regular file"
    words = error.strerror or "unknown error"
    return words if error.errno == errno.EFBIG else f"cannot be read: {words.lower()}"


def _too_large(limit: int) -> str:
    return f"is larger than {limit / 1_000_000:g} MB"
