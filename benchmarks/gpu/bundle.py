"""vLLM for a GPU machine without network, in two archives that travel one after the other.

    python benchmarks/gpu/bundle.py make                          with network: into .gpu-bundle
    python benchmarks/gpu/bundle.py unpack .gpu-bundle/*.tar.xz   on the GPU machine: into .gpu-site

`vllm.tar.xz` holds vLLM without what a card of the chosen architecture and a VLM in bf16 do not need,
`rest.tar.xz` its requirements that the machine lacks (`vllm.txt`), those of visplay (`wheels.txt`) and
visplay itself. `unpack` needs nothing but Python.
"""

import argparse
import fnmatch
import lzma
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VLLM = "vllm==0.26.0"  # the newest one that is built for torch 2.11
MOST = 64 << 20  # bytes of an archive and the working tree together
# Not needed for dense VLMs in bf16 on sm_90: vLLM imports each inside `try`, or for another card or VLM.
LEFT_OUT = (
    "vllm/vllm-rs",  # another front end
    "vllm/_rust_tool_parser*",
    "vllm/_moe_C*",  # mixtures of experts
    "vllm/_qutlass_C*",  # Blackwell
    "vllm/_flashmla*",  # another attention than that of these VLMs
    "vllm/vllm_flash_attn/_vllm_fa2_C*",  # FlashAttention 2; Hopper has 3
    "vllm/third_party/deep_gemm/*",  # fp8
    "vllm/third_party/fmha_sm100/*",
    "vllm/third_party/tml_fa4/*",
    "vllm/entrypoints/serve/instrumentator/static/*",
)

# A fat binary is a header and entries, each a header and a payload: machine code or PTX of one architecture.
_FAT = struct.Struct("<IHHQ")  # magic, version, size of this header, bytes of all entries
_ENTRY = struct.Struct("<HHIQ")  # kind, version, size of this header, bytes of the payload
_ARCHITECTURE = struct.Struct("<I")
_ARCHITECTURE_AT = 28  # in an entry's header
_MAGIC = struct.pack("<I", 0xBA55ED50)
_MACHINE_CODE = 2  # kind; 1 is PTX


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A part of a fat binary.

    Attributes:
        kind: 1 for PTX, 2 for machine code.
        architecture: 90 for sm_90.
        start: of the payload in the file.
        size: of the payload.
    """

    kind: int
    architecture: int
    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Bytes of payloads in one file.

    Attributes:
        zeroed: of other architectures.
        kept: of the architecture that was asked for.
        whole: in fat binaries without it, which are kept as they are.
    """

    zeroed: int
    kept: int
    whole: int


def fat_binaries(data: bytes | bytearray) -> Iterator[list[Entry]]:
    """Entries of each fat binary in a file. What only looks like one is passed over."""
    at = data.find(_MAGIC)
    while at >= 0:
        entries, end = _entries(data, at)
        if entries:
            yield entries
        at = data.find(_MAGIC, end)


def _entries(data: bytes | bytearray, at: int) -> tuple[list[Entry], int]:
    """Entries of the fat binary at `at`, none where there is none, and where to look on."""
    after = at + len(_MAGIC)
    if at + _FAT.size > len(data):
        return [], after
    _, version, header, size = _FAT.unpack_from(data, at)
    if version != 1 or header != _FAT.size or at + header + size > len(data):
        return [], after
    place, end, entries = at + header, at + header + size, []
    while place < end:
        if place + _ARCHITECTURE_AT + _ARCHITECTURE.size > end:
            return [], after
        kind, _, header, size = _ENTRY.unpack_from(data, place)
        start = place + header
        if header < _ARCHITECTURE_AT + _ARCHITECTURE.size or start + size > end:
            return [], after
        (architecture,) = _ARCHITECTURE.unpack_from(data, place + _ARCHITECTURE_AT)
        entries.append(Entry(kind=kind, architecture=architecture, start=start, size=size))
        place = start + size
    return entries, end


def prune(data: bytearray, architecture: int) -> Pruned:
    """Fill the payloads of other architectures with zeros, in place, where there is machine code of this one.

    No byte moves, and headers stay, so that a loader that looks for this architecture finds what it did.
    """
    zeroed = kept = whole = 0
    for entries in list(fat_binaries(data)):
        wanted = [e.kind == _MACHINE_CODE and e.architecture == architecture for e in entries]
        for entry, keep in zip(entries, wanted, strict=True):
            if not any(wanted):
                whole += entry.size
            elif keep:
                kept += entry.size
            else:
                data[entry.start : entry.start + entry.size] = bytes(entry.size)
                zeroed += entry.size
    return Pruned(zeroed=zeroed, kept=kept, whole=whole)


def left_out(name: str, python: str) -> bool:
    """Whether a file of a wheel is not packed: not needed on the card, or built for another Python."""
    built_for = re.search(r"\.cpython-(\d+)-", name)
    return any(fnmatch.fnmatch(name, pattern) for pattern in LEFT_OUT) or (
        built_for is not None and built_for[1] != python.replace(".", "")
    )


def lay_out(wheel: Path, site: Path, *, python: str, architecture: int) -> list[str]:
    """Unpack a wheel as pip would, without its scripts; returns what was pruned, in words."""
    said = []
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = member.filename
            if ".data/" in name.partition("/")[0] + "/":
                scheme, _, name = name.partition("/")[2].partition("/")
                if scheme not in ("purelib", "platlib"):
                    continue
            if member.is_dir() or left_out(name, python):
                continue
            data = bytearray(archive.read(member))
            if name.endswith(".so") and _MAGIC in data:
                pruned = prune(data, architecture)
                said.append(
                    f"{name}: {pruned.zeroed / 1e6:.1f} MB zeroed, {pruned.kept / 1e6:.1f} of "
                    f"sm_{architecture} and {pruned.whole / 1e6:.1f} without it kept"
                )
            path = site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return said


def pack(site: Path, archive: Path) -> None:
    """Compress a folder without dates and owners of its files, so that equal files make equal archives."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with lzma.open(archive, "wb", preset=6) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for path in sorted(site.rglob("*")):
            tar.add(path, path.relative_to(site).as_posix(), recursive=False, filter=plain)


def unpack(archives: Sequence[Path], site: Path) -> None:
    """Unpack archives one over the other."""
    site.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        with tarfile.open(archive, "r:xz") as tar:
            tar.extractall(site, filter="data")


def download(into: Path, python: str, *arguments: str) -> None:
    """Download wheels for Linux on x86-64 and this Python, without their requirements."""
    platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in (35, 34, 31, 28, 27, 24, 17)]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *platforms,
        "--platform=manylinux2014_x86_64", f"--dest={into}", *arguments,
    ]  # fmt: skip
    subprocess.run(command, check=True)


def tree_bytes() -> int:
    """Bytes of the working tree's files: tracked ones and those that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    paths = [ROOT / name for name in listed.split("\0") if name]
    return sum(path.stat().st_size for path in paths if path.is_file())


def make(into: Path, *, python: str, architecture: int) -> bool:
    """Make both archives; returns whether each, with the working tree, is small enough."""
    shutil.rmtree(into, ignore_errors=True)
    wheels = into / "wheels"
    wheels.mkdir(parents=True)
    download(wheels / "vllm", python, VLLM)
    download(wheels / "rest", python, f"--requirement={HERE / 'vllm.txt'}")
    constraints = f"--constraint={ROOT / 'constraints.txt'}"
    download(wheels / "rest", python, constraints, f"--requirement={HERE / 'wheels.txt'}")
    own = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*own, f"--wheel-dir={wheels / 'rest'}", str(ROOT)], check=True)
    tree, fits = tree_bytes(), True
    for name in ("vllm", "rest"):
        site = into / name
        for wheel in sorted((wheels / name).glob("*.whl")):
            for line in lay_out(wheel, site, python=python, architecture=architecture):
                print(line)
        archive = into / f"{name}.tar.xz"
        pack(site, archive)
        together = archive.stat().st_size + tree
        fits &= together <= MOST
        print(
            f"{archive}: {archive.stat().st_size:,} bytes, with the tree's {tree:,} {together:,} "
            f"{'of' if together <= MOST else 'and too many for'} {MOST:,}"
        )
        shutil.rmtree(site)
    shutil.rmtree(wheels)
    return fits


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="with network")
    making.add_argument("--python", default="3.12", help="of the GPU machine")
    making.add_argument("--architecture", type=int, default=90, help="of its card: 90 for H100 and H200")
    making.add_argument("--into", type=Path, default=Path(".gpu-bundle"))
    unpacking = commands.add_parser("unpack", help="on the GPU machine")
    unpacking.add_argument("archives", type=Path, nargs="+")
    unpacking.add_argument("--into", type=Path, default=Path(".gpu-site"))
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    if options.command == "unpack":
        unpack(options.archives, options.into)
        print(f"unpacked into {options.into} in {time.perf_counter() - began:.0f} s")
        return 0
    return 0 if make(options.into, python=options.python, architecture=options.architecture) else 1


if __name__ == "__main__":
    sys.exit(main())
