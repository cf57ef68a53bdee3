"""The child of `ingest.sandbox`: reads files from a pipe, writes their documents as frames, and can do
nothing else.

Once the parsers are imported the process gives up for good: opening files, the network, starting processes,
signalling others and changing the file system (seccomp, on Linux on x86-64 and ARM64; elsewhere an audit hook
refuses what Python code tries).
"""

from __future__ import annotations

import ctypes
import encodings
import errno
import importlib
import json
import math
import os
import pkgutil
import platform
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

from ingest.parse import media_type, parse
from ingest.sandbox import LENGTH, OUT_OF_MEMORY, Limits, encode, out_of_memory
from kernel.records import FailedDocument, ParsedDocument

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_SECCOMP_FILTER = 2
_SPARE_BYTES = 2 << 20
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENT_AT = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000
_CLONE_THREAD = 0x10000
_OPEN_FILES = 16

# System calls by machine: AUDIT_ARCH, those refused, then clone, clone3 and prlimit64, which are looked at.
_REFUSED_EVERYWHERE = (
    424,
    425,
    426,
    427,
    428,
    429,
    430,
    431,
    432,
    433,
    434,
    437,
    438,
    440,
)  # pidfd, io_uring, mount
_MACHINES: dict[str, tuple[int, tuple[int, ...], int, int, int]] = {
    "x86_64": (
        0xC000003E,
        (
            *(2, 85, 257, 304),  # open, creat, openat, open_by_handle_at
            *(41, 42, 43, 44, 46, 49, 50, 53, 288, 307),  # socket, connect, accept, send, bind, listen
            *(57, 58, 59, 322, 101, 310, 311),  # fork, vfork, execve, execveat, ptrace, process_vm_*
            *(62, 129, 200, 234, 297),  # kill and its kind
            *(
                76,
                77,
                82,
                83,
                84,
                86,
                87,
                88,
                90,
                91,
                92,
                93,
                94,
                132,
                133,
                235,
                258,
                259,
                260,
                261,
            ),  # changes of files
            *(263, 264, 265, 266, 268, 280, 316, 188, 189, 190, 197, 198, 199),
            *(141, 203, 155, 161, 165, 166, 248, 249, 250, 256, 272, 279, 298, 308, 321, 323),  # the machine
        ),
        56,
        435,
        302,
    ),
    "aarch64": (
        0xC00000B7,
        (
            *(56, 265),  # openat, open_by_handle_at
            *(
                198,
                199,
                200,
                201,
                202,
                203,
                206,
                211,
                242,
                269,
            ),  # socket, bind, listen, accept, connect, send
            *(221, 281, 117, 270, 271),  # execve, execveat, ptrace, process_vm_*
            *(129, 130, 131, 138, 240),  # kill and its kind
            *(
                33,
                34,
                35,
                36,
                37,
                38,
                45,
                46,
                52,
                53,
                54,
                55,
                88,
                276,
                5,
                6,
                7,
                14,
                15,
                16,
            ),  # changes of files
            *(39, 40, 41, 51, 97, 122, 140, 217, 218, 219, 238, 239, 241, 268, 280, 282),  # the machine
        ),
        220,
        435,
        261,
    ),
}


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def main(limits: str, parent: int) -> None:
    """Serve files until the parent closes the pipe. `limits` is a Limits as JSON, `parent` the process that
    must live."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it was gone before the line above
            return
    bounds = Limits(**json.loads(limits))
    source, sink = os.fdopen(0, "rb", 1 << 20), os.fdopen(os.dup(1), "wb", 1 << 16)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not end up among the frames
    confine(bounds)
    while _serve(source, sink, bounds):
        pass


def confine(bounds: Limits) -> None:
    """Give up, for good, what parsing does not need. Only the limit of processor time is left to each file."""
    _preload()
    _set_limits(bounds)
    if not _filter_system_calls():
        sys.addaudithook(refuse)


def _preload() -> None:
    """Import what is else imported on first use, when no file can be opened any more: above all, every
    codec."""
    importlib.import_module("_strptime")
    for module in pkgutil.iter_modules(encodings.__path__):
        if module.name not in {"mbcs", "oem"}:  # of Windows
            importlib.import_module(f"encodings.{module.name}")


def _set_limits(bounds: Limits) -> None:
    memory = _address_space() + bounds.memory_bytes
    for kind, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))


def _address_space() -> int:
    """The bytes of address space in use; the limit counts from there."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()


def _allow_processor_time(seconds: int) -> None:
    """Let this process run for `seconds` more: past that the kernel ends it with SIGXCPU."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = math.ceil(usage.ru_utime + usage.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _serve(source: BinaryIO, sink: BinaryIO, bounds: Limits) -> bool:
    """Parse the next file; whether another may follow."""
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return False
    again = True
    spare = bytearray(_SPARE_BYTES)  # given up when memory runs out, so that there is some to say so with
    try:
        request = json.loads(source.read(LENGTH.unpack(head)[0]))
        _allow_processor_time(bounds.cpu_seconds)
        data = source.read(request["size"])
        _answer(sink, data, request["name"], bounds)
    except MemoryError:
        spare.clear()
        try:
            _send(sink, encode(FailedDocument(out_of_memory(bounds))))
        except MemoryError:
            os._exit(OUT_OF_MEMORY)  # what has failed still holds its memory: the parent says it
        again = False  # the heap is in pieces: the next file shall find a new one
    except Exception as error:  # noqa: BLE001 - the sandbox's edge: a library's surprise must not cost the other files
        reason = f"could not be parsed: its parser failed with {type(error).__name__}"
        _send(sink, encode(FailedDocument(reason)))
    _send(sink, ["end", again])
    sink.flush()
    return again


def _answer(sink: BinaryIO, data: bytes, name: str, bounds: Limits) -> None:
    _send(sink, ["media", media_type(name, data)])
    sink.flush()
    for document in parse(data, name):
        if isinstance(document, ParsedDocument) and len(document.text) > bounds.output_chars:
            reason = f"yields more than {bounds.output_chars:,} characters of text"
            _send(sink, encode(FailedDocument(reason, document.media_type, document.external_id)))
        else:
            _send(sink, encode(document))


def _send(sink: BinaryIO, content: list[Any]) -> None:
    frame = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    sink.write(LENGTH.pack(len(frame)))
    sink.write(frame)


def _filter_system_calls() -> bool:
    """Refuse system calls from now on (seccomp-bpf, linux/Documentation/userspace-api/seccomp_filter.rst);
    whether the kernel took the filter."""
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        return False
    code = _filter(*machine)
    program = _Program(len(code) // 8, code)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0) != 0:
        return False
    return bool(prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, ctypes.addressof(program), 0, 0) == 0)


def _filter(architecture: int, refused: tuple[int, ...], clone: int, clone3: int, prlimit: int) -> bytes:
    """The program: instructions of struct sock_filter (code, jump if true, jump if false, operand)."""
    deny = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    program = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_JUMP_EQUAL, 1, 0, architecture), deny]
    program += [(_LOAD, 0, 0, _NUMBER_AT), (_JUMP_GREATER_EQUAL, 0, 1, _X32), deny]
    for number in (*refused, *_REFUSED_EVERYWHERE):
        program += [(_JUMP_EQUAL, 0, 1, number), deny]
    # The C library falls back from clone3, whose flags lie in memory, to clone, whose flags can be seen.
    program += [(_JUMP_EQUAL, 0, 1, clone3), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    program += [
        (_JUMP_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _ARGUMENT_AT),
        (_JUMP_ANY_BIT, 1, 0, _CLONE_THREAD),
        deny,
    ]
    # Limits of this process (0) may change, those of others may not.
    program += [(_JUMP_EQUAL, 0, 2, prlimit), (_LOAD, 0, 0, _ARGUMENT_AT), (_JUMP_EQUAL, 0, 1, 0)]
    program += [(_RETURN, 0, 0, _ALLOW), deny]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def refuse(event: str, _arguments: tuple[Any, ...]) -> None:
    """The audit hook where there is no seccomp."""
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "os.spawn")):
        raise PermissionError(errno.EPERM, f"{event} is refused in the sandbox")
