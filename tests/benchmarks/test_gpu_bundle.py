"""vLLM for a GPU machine without network: fat binaries pruned by hand, wheels laid out, archives packed."""

import struct
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks.gpu.bundle import LEFT_OUT, Pruned, fat_binaries, lay_out, left_out, pack, prune, unpack

ROOT = Path(__file__).parents[2]
PTX, CODE = 1, 2


def entry(kind: int, architecture: int, payload: bytes, *, header: int = 64) -> bytes:
    head = struct.pack("<HHIQ", kind, 0x101, header, len(payload))
    return head.ljust(28, b"\1") + struct.pack("<I", architecture) + b"\2" * (header - 32) + payload


def fat(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def payloads(data: bytes | bytearray) -> list[list[tuple[int, int, bytes]]]:
    return [
        [(e.kind, e.architecture, bytes(data[e.start : e.start + e.size])) for e in entries]
        for entries in fat_binaries(data)
    ]


BOTH = fat(
    entry(CODE, 80, b"a" * 40), entry(CODE, 90, b"h" * 24), entry(CODE, 90, b"g" * 8),
    entry(CODE, 120, b"b" * 72, header=112), entry(PTX, 90, b"p" * 16),
)  # fmt: skip
WITHOUT = fat(entry(CODE, 100, b"c" * 32), entry(PTX, 80, b"q" * 16))


def test_other_architectures_are_zeroed_where_this_one_is_there_and_nothing_moves() -> None:
    before = b"\x7fELF" + b"x" * 9 + BOTH + b"between" + WITHOUT + BOTH + b"end"
    data = bytearray(before)
    found = prune(data, 90)
    assert found == Pruned(zeroed=2 * (40 + 72 + 16), kept=2 * (24 + 8), whole=32 + 16)
    assert len(data) == len(before)
    pruned = [
        (CODE, 80, bytes(40)), (CODE, 90, b"h" * 24), (CODE, 90, b"g" * 8), (CODE, 120, bytes(72)),
        (PTX, 90, bytes(16)),
    ]  # fmt: skip
    whole = [(CODE, 100, b"c" * 32), (PTX, 80, b"q" * 16)]
    assert payloads(data) == [pruned, whole, pruned]
    starts = [[e.start for e in entries] for entries in fat_binaries(before)]
    assert [[e.start for e in entries] for entries in fat_binaries(data)] == starts
    inside = {
        i for entries in fat_binaries(before) for e in entries for i in range(e.start, e.start + e.size)
    }
    assert all(data[i] == before[i] for i in range(len(before)) if i not in inside)
    again = bytearray(data)
    prune(again, 90)
    assert again == data


def test_ptx_of_the_architecture_alone_keeps_all() -> None:
    only = fat(entry(CODE, 80, b"a" * 8), entry(PTX, 90, b"p" * 8))
    data = bytearray(only)
    assert prune(data, 90) == Pruned(zeroed=0, kept=0, whole=16)
    assert data == only


@pytest.mark.parametrize(
    "data",
    [
        b"", BOTH[:4], BOTH[:12], BOTH[:-1], fat(),
        BOTH[:4] + b"\2" + BOTH[5:],  # another version of the format
        fat(b"\1" * 20), fat(entry(CODE, 90, b"")[:-1]),  # an entry's header that does not fit
        fat(struct.pack("<HHIQ", CODE, 0x101, 8, 0) + bytes(48)),  # a header too short for an architecture
        fat(struct.pack("<HHIQ", CODE, 0x101, 64, 1 << 40) + bytes(48)),  # a payload past the end
    ],
)  # fmt: skip
def test_what_only_looks_like_a_fat_binary_is_left_alone(data: bytes) -> None:
    changed = bytearray(data)
    assert list(fat_binaries(data)) == [] and prune(changed, 90) == Pruned(zeroed=0, kept=0, whole=0)
    assert changed == data
    assert payloads(data + BOTH) == payloads(BOTH) or len(data) in (4, 12, len(BOTH) - 1)


def make_wheel(folder: Path) -> Path:
    wheel = folder / "vllm-0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in {
            "vllm/__init__.py": b"here = True\n",
            "vllm/_C.abi3.so": b"head" + BOTH + b"tail",
            "vllm/_moe_C.abi3.so": BOTH,
            "vllm/third_party/deep_gemm/include/a.hpp": b"#",
            "vllm/other.cpython-312-x86_64-linux-gnu.so": b"ours",
            "vllm/other.cpython-313-x86_64-linux-gnu.so": b"theirs",
            "vllm-0.data/purelib/vllm/pure.py": b"1\n",
            "vllm-0.data/scripts/vllm": b"#!python\n",
            "vllm-0.dist-info/METADATA": b"Name: vllm\n",
        }.items():
            archive.writestr(name, data)
    return wheel


def test_a_wheel_is_laid_out_packed_and_unpacked(tmp_path: Path) -> None:
    said = lay_out(make_wheel(tmp_path), tmp_path / "site", python="3.12", architecture=90)
    assert said == ["vllm/_C.abi3.so: 0.0 MB zeroed, 0.0 of sm_90 and 0.0 without it kept"]
    archives = [tmp_path / "one.tar.xz", tmp_path / "two.tar.xz"]
    pack(tmp_path / "site", archives[0])
    (tmp_path / "site" / "vllm" / "_C.abi3.so").touch()  # a later date
    pack(tmp_path / "site", archives[1])
    assert archives[0].read_bytes() == archives[1].read_bytes()
    unpack(archives, tmp_path / "there")
    found = {
        p.relative_to(tmp_path / "there").as_posix() for p in (tmp_path / "there").rglob("*") if p.is_file()
    }
    assert found == {
        "vllm/__init__.py", "vllm/_C.abi3.so", "vllm/other.cpython-312-x86_64-linux-gnu.so", "vllm/pure.py",
        "vllm-0.dist-info/METADATA",
    }  # fmt: skip
    library = (tmp_path / "there/vllm/_C.abi3.so").read_bytes()
    assert len(library) == len(BOTH) + 8 and b"h" * 24 in library and b"a" * 40 not in library


def test_what_every_vlm_needs_is_not_left_out() -> None:
    for name in (
        "vllm/_C_stable_libtorch.abi3.so", "vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so",
        "vllm/vllm_flash_attn/flash_attn_interface.py", "vllm/cumem_allocator.abi3.so",
        "vllm/third_party/pynvml.py", "vllm/model_executor/models/qwen2_5_vl.py",
    ):  # fmt: skip
        assert not left_out(name, "3.12"), name
    assert all(left_out(pattern.rstrip("*") + "x" * pattern.endswith("*"), "3.12") for pattern in LEFT_OUT)


def test_each_requirement_has_one_version_and_comes_once() -> None:
    def names(file: str) -> list[Requirement]:
        lines = (ROOT / "benchmarks/gpu" / file).read_text().splitlines()
        return [Requirement(line) for line in lines if line and not line.startswith("#")]

    ours, others = names("vllm.txt"), {r.name.lower().replace("_", "-") for r in names("wheels.txt")}
    assert all(str(r.specifier).startswith("==") for r in ours)
    assert not {r.name for r in ours} & others and len({r.name for r in ours}) == len(ours)
