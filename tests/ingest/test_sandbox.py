"""The sandbox: what a file may do to its parser, and that the next file never notices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ingest.sandbox import Limits, ParserPool
from kernel.records import FailedDocument, ParsedDocument

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
DATA = Path(__file__).parents[2].parent / "shared" / "data"
SMALL = Limits(memory_bytes=96 << 20, cpu_seconds=1, wall_seconds=20, input_bytes=4_000_000, output_chars=100_000)
# libxml2 looks through all open elements for each end tag that matches none: quadratic, a real hang.
HANGING = b"<div>" * 150_000 + b"</b>" * 150_000
GREEDY = b"[" + b'{"a":0},' * 450_000 + b"1]"


def only(documents: Iterator[ParsedDocument | FailedDocument]) -> ParsedDocument | FailedDocument:
    (document,) = documents
    return document


def reason(documents: Iterator[ParsedDocument | FailedDocument]) -> str:
    document = only(documents)
    assert isinstance(document, FailedDocument)
    return document.reason


def still_parses(pool: ParserPool) -> None:
    document = only(pool.parse_bytes(b"# Next\n\nfile\n", "next.md"))
    assert isinstance(document, ParsedDocument)
    assert document.title == "Next"


def children() -> set[int]:
    """Processes that any thread of this one began; a thread may end while they are listed."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(one) for one in (task / "children").read_text().split()}
    return found


@pytest.fixture
def elsewhere() -> set[int]:
    """The children that are not the test's own."""
    return children() if sys.platform == "linux" else set()


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with ParserPool(limits=SMALL) as pool:
        yield pool


def test_every_field_survives_the_pipe(pool: ParserPool, tmp_path: Path) -> None:
    source = "---\ntitle: T\ngroups: [a, b]\nowner: Ann\n---\n# H\n\n[l](x)\n\n|a|b|\n|-|-|\n|1|2|\n"
    path = tmp_path / "doc.md"
    path.write_text(source)
    document = only(pool.parse(path))
    assert isinstance(document, ParsedDocument)
    assert (document.text, document.title, document.groups) == (source, "T", ("a", "b"))
    assert document.metadata == {"title": "T", "owner": "Ann", "groups": ["a", "b"]}
    assert [x.title for x in document.headings] == ["H"]
    assert [x.target for x in document.links] == ["x"]
    assert {(x.subject, x.predicate, x.object) for x in document.facts} == {
        ("T", "owner", "Ann"),
        ("1", "b", "2"),
    }
    record = {"id": "r", "text": "t", "url": "u", "metadata": {"k": [1, None]}, "groups": ["g"]}
    record_back = only(pool.parse_bytes(json.dumps(record).encode(), "r.jsonl"))
    assert isinstance(record_back, ParsedDocument)
    assert (record_back.external_id, record_back.uri, record_back.groups) == ("r", "u", ("g",))
    assert record_back.metadata == {"k": [1, None]}


def test_a_name_overrides_the_path(pool: ParserPool, tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(b"a,b\n1,2\n")
    document = only(pool.parse(path, "table.csv"))
    assert isinstance(document, ParsedDocument)
    assert document.text == "a: 1 | b: 2\n"


def test_one_child_serves_many_files(pool: ParserPool) -> None:
    still_parses(pool)
    before = children()
    for _ in range(20):
        still_parses(pool)
    assert children() == before


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (GREEDY, "a.json", "needs more than 96 MB of memory"),
        (HANGING, "a.html", "took more than 1 s of processor time"),
        (b"x" * 4_000_001, "a.txt", "is larger than 4 MB"),
        (b"words " * 20_000, "a.txt", "yields more than 100,000 characters"),
        (b"", "a.md", "is empty"),
        (b"", "a.jsonl", "is empty"),
        (b"PK\x03\x04" + b"junk" * 50, "a.docx", "is damaged: not a ZIP archive"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"junk" * 50,
            "a.xlsx",
            "is encrypted or in an old binary format",
        ),
        (b"%PDF-1.7 junk", "a.pdf", "is damaged: not a readable PDF"),
        (bytes(range(256)) * 20, "a.txt", "is not text"),
        (b"x", "a.exe", "has a type that is not supported (.exe)"),
        (b'{"a":' * 5_000, "a.json", "is nested too deeply"),
    ],
)
def test_bad_files_end_in_words_and_the_next_parses(pool: ParserPool, data: bytes, name: str, words: str) -> None:
    assert words in reason(pool.parse_bytes(data, name))
    still_parses(pool)


def test_200_000_nested_elements_parse() -> None:
    with ParserPool() as pool:
        document = only(pool.parse_bytes(b"<div>" * 200_000 + b"deep" + b"</div>" * 200_000, "a.html"))
    assert isinstance(document, ParsedDocument)
    assert document.text == "deep"


def test_a_hang_ends_at_the_wall_clock() -> None:
    with ParserPool(limits=Limits(wall_seconds=1.6)) as pool:
        began = time.monotonic()
        assert reason(pool.parse_bytes(HANGING, "a.html")) == "took more than 1.6 s to parse"
        assert time.monotonic() - began < 15
        still_parses(pool)


def records(count: int) -> bytes:
    return b"\n".join(json.dumps({"id": f"r{i}", "text": "word " * 40}).encode() for i in range(count))


def test_a_slow_reader_costs_the_child_nothing() -> None:
    with ParserPool(limits=Limits(wall_seconds=1.6)) as pool:
        still_parses(pool)
        seen = 0
        for seen, _ in enumerate(pool.parse_bytes(records(4_000), "a.jsonl"), 1):
            if seen in {1, 1_500, 3_000}:
                time.sleep(0.6)
        assert seen == 4_000


@LINUX
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_in_mid_stream_is_told(number: signal.Signals, elsewhere: set[int]) -> None:
    with ParserPool() as pool:
        stream = pool.parse_bytes(records(12_000), "a.jsonl")
        assert isinstance(next(stream), ParsedDocument)
        (child,) = children() - elsewhere
        os.kill(child, number)
        rest = list(stream)
        assert len(rest) < 12_000
        last = rest[-1]
        assert isinstance(last, FailedDocument)
        assert ("killed" if number == signal.SIGKILL else number.name) in last.reason
        assert f"its first {len(rest)} documents is missing" in last.reason
        still_parses(pool)


@LINUX
def test_an_idle_child_that_died_is_replaced(elsewhere: set[int]) -> None:
    with ParserPool() as pool:
        still_parses(pool)
        (child,) = children() - elsewhere
        os.kill(child, signal.SIGKILL)
        time.sleep(0.2)
        still_parses(pool)


def test_a_stream_left_half_read_harms_nobody() -> None:
    with ParserPool() as pool:
        stream = pool.parse_bytes(records(5_000), "a.jsonl")
        next(stream)
        stream.close()
        still_parses(pool)


@LINUX
def test_no_child_outlives_its_pool(elsewhere: set[int]) -> None:
    with ParserPool() as pool:
        still_parses(pool)
        stream = pool.parse_bytes(records(5_000), "a.jsonl")
        next(stream)
        assert children() - elsewhere
    assert not children() - elsewhere
    last = list(stream)[-1]
    assert isinstance(last, FailedDocument)


def test_a_child_outlives_the_thread_that_first_used_it() -> None:
    with ParserPool() as pool:
        thread = threading.Thread(target=still_parses, args=(pool,))
        thread.start()
        thread.join()
        before = children() if sys.platform == "linux" else set()
        time.sleep(0.2)
        still_parses(pool)
        if sys.platform == "linux":
            assert children() == before


def test_threads_share_a_pool(elsewhere: set[int]) -> None:
    with ParserPool(workers=2) as pool:
        counts: list[int] = []
        work = [
            threading.Thread(target=lambda: counts.append(len(list(pool.parse_bytes(records(500), "a.jsonl")))))
            for _ in range(6)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        assert counts == [500] * 6
        if sys.platform == "linux":
            assert len(children() - elsewhere) == 2


def test_only_regular_files_are_read(pool: ParserPool, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    link, fifo = tmp_path / "link.txt", tmp_path / "fifo.txt"
    link.symlink_to(secret)
    os.mkfifo(fifo)
    assert "symbolic link" in reason(pool.parse(link))
    assert reason(pool.parse(fifo)) == "is not a regular file"
    assert reason(pool.parse(Path("/dev/null"), "a.txt")) == "is not a regular file"
    assert reason(pool.parse(tmp_path, "a.txt")) == "is not a regular file"
    assert reason(pool.parse(tmp_path / "absent.txt")) == "cannot be read: no such file or directory"
    large = tmp_path / "large.txt"
    with large.open("wb") as file:
        file.truncate(5_000_000)
    assert reason(pool.parse(large)) == "is larger than 4 MB"


_CONFINED = """
import errno, json, os, signal, socket, subprocess, sys, threading, ctypes
from ingest.sandbox import Limits
from ingest.sandbox_child import confine
secret, parent = sys.argv[1], os.getppid()
open_socket = socket.socketpair()[0]
confine(Limits(memory_bytes=200 << 20))
def attempt(action):
    try:
        return repr(action())
    except MemoryError:
        return "MemoryError"
    except OSError as error:
        return errno.errorcode[error.errno]
def thread():
    box = []
    worker = threading.Thread(target=lambda: box.append("ran")); worker.start(); worker.join()
    return box[0]
libc = ctypes.CDLL(None, use_errno=True)
def raw(name, *arguments):
    if libc[name](*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)
results = {
    "socket": attempt(socket.socket),
    "connect": attempt(lambda: open_socket.connect("/tmp/x")),
    "send": attempt(lambda: open_socket.send(b"x")),
    "fork": attempt(os.fork),
    "exec": attempt(lambda: os.execv("/bin/true", ["true"])),
    "subprocess": attempt(lambda: subprocess.run(["/bin/true"])),
    "read": attempt(lambda: open(secret).read()),
    "write": attempt(lambda: open(secret, "w")),
    "unlink": attempt(lambda: os.unlink(secret)),
    "kill": attempt(lambda: os.kill(parent, signal.SIGTERM)),
    "limits": attempt(lambda: __import__("resource").prlimit(parent, __import__("resource").RLIMIT_NOFILE, (9, 9))),
    "ptrace": attempt(lambda: raw("ptrace", 16, parent, None, None)),
    "memory": attempt(lambda: bytearray(300 << 20)),
    "thread": attempt(thread),
}
print(json.dumps(results))
"""


@LINUX
def test_the_child_is_confined(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    done = subprocess.run(
        [sys.executable, "-c", _CONFINED, str(secret)],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        timeout=20,
    )
    results = json.loads(done.stdout)
    assert results.pop("thread") == "'ran'"
    assert results.pop("memory") == "MemoryError"
    assert results == dict.fromkeys(results, "EPERM")
    assert secret.read_text() == "secret"


_AUDITED = """
import os, socket, subprocess, sys
from ingest.sandbox_child import refuse
sys.addaudithook(refuse)
for action in (lambda: socket.create_connection(("127.0.0.1", 9)), os.fork, lambda: subprocess.run(["/bin/true"]),
               lambda: os.execv("/bin/true", ["true"]), lambda: os.system("true")):
    try:
        action()
    except PermissionError:
        continue
    sys.exit("allowed")
print("all refused")
"""


def test_without_seccomp_an_audit_hook_refuses() -> None:
    done = subprocess.run([sys.executable, "-c", _AUDITED], capture_output=True, cwd=Path(__file__).parents[2])
    assert done.stdout == b"all refused\n"


_PARENT = """
import os, sys, threading, time
from ingest.sandbox import ParserPool
pool = ParserPool()
list(pool.parse_bytes(b"# x", "a.md"))
tasks = [f"/proc/self/task/{task}/children" for task in os.listdir("/proc/self/task")]
child = "".join(open(task).read() for task in tasks)
hanging = b"<div>" * 150_000 + b"</b>" * 150_000
threading.Thread(target=lambda: list(pool.parse_bytes(hanging, "a.html")), daemon=True).start()
time.sleep(0.5)
print(child, flush=True)
time.sleep(60)
"""


@LINUX
def test_the_child_dies_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.stdout.close()
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.wait()
    for _ in range(50):
        status = Path(f"/proc/{child}/stat")
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the child lives on")


def test_speed() -> None:
    with ParserPool() as pool:
        began = time.perf_counter()
        still_parses(pool)
        first = time.perf_counter() - began
        data = records(12_500)
        began = time.perf_counter()
        count = sum(isinstance(x, ParsedDocument) for x in pool.parse_bytes(data, "a.jsonl"))
        streaming = time.perf_counter() - began
        began = time.perf_counter()
        for _ in range(300):
            list(pool.parse_bytes(b"small\n", "a.txt"))
        each = (time.perf_counter() - began) / 300
    assert count == 12_500
    assert (first < 2, streaming < 1.5, each < 0.001) == (True, True, True), (first, streaming, each)


def files() -> list[Path]:
    folders = [DATA / "parser_cases" / "docling", DATA / "parser_cases" / "markitdown", DATA / "documents"]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


@pytest.mark.skipif(not DATA.is_dir(), reason="the development data (shared/data) is not beside the repository")
def test_every_real_file_goes_through_the_pool() -> None:
    texts = failures = 0
    with ParserPool() as pool:
        for path in files():
            documents = list(pool.parse(path))
            assert documents, path
            for document in documents:
                if isinstance(document, FailedDocument):
                    failures += 1
                    assert not document.reason.startswith(
                        ("could not be parsed", "crashed", "broke", "ended", "took")
                    ), path
                else:
                    texts += 1
                    assert document.text.strip()
                    spans = (*document.links, *document.facts)
                    assert all(0 <= span.start < span.end <= len(document.text) for span in spans), path
                    assert all(0 <= heading.start < len(document.text) for heading in document.headings), path
    assert texts > 500
    assert failures > 10
