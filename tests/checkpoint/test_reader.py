"""Foreign weights: every container, what is told without reading, and what is refused."""

import collections
import errno
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from worldtune.checkpoint.entries import ITEM_BYTES, TensorEntry
from worldtune.checkpoint.kinds import FileKind
from worldtune.checkpoint.reader import open_weights
from worldtune.errors import CheckpointError

WEIGHTS = {
    "net.x_embedder.proj.1.weight": torch.arange(12.0).view(3, 4).bfloat16(),
    "net.blocks.0.self_attn.q_proj.weight": torch.randn(4, 4),
    "net.accum_iteration": torch.tensor(7),
    "net.empty": torch.empty(0, 3),
}


def save_legacy(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


SAVERS = {
    "zip.pt": torch.save,
    "legacy.pth": save_legacy,
    "flat.safetensors": lambda value, path: save_file(value, path),
}


@pytest.fixture(params=SAVERS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    SAVERS[request.param](WEIGHTS, tmp_path / request.param)
    return tmp_path / request.param


def test_a_file_lists_names_shapes_and_dtypes(saved: Path):
    with open_weights(saved) as file:
        assert set(file.entries) == set(WEIGHTS)
        for name, tensor in WEIGHTS.items():
            entry = file.entries[name]
            assert entry == TensorEntry(tuple(tensor.shape), str(tensor.dtype)[len("torch.") :])
            assert entry.nbytes == tensor.nbytes
        assert file.nbytes == sum(tensor.nbytes for tensor in WEIGHTS.values())


def test_every_tensor_comes_back_in_bits(saved: Path):
    with open_weights(saved) as file:
        for name, tensor in WEIGHTS.items():
            read = file.read(name)
            assert read.dtype == tensor.dtype
            assert torch.equal(read, tensor)


def test_writing_to_a_read_tensor_leaves_the_file_as_it_was(saved: Path):
    before = saved.read_bytes()
    with open_weights(saved) as file:
        file.read("net.x_embedder.proj.1.weight").zero_()
    assert saved.read_bytes() == before


def test_a_read_tensor_outlives_the_file(saved: Path):
    with open_weights(saved) as file:
        tensor = file.read("net.blocks.0.self_attn.q_proj.weight")
    saved.unlink()
    assert torch.equal(tensor, WEIGHTS["net.blocks.0.self_attn.q_proj.weight"])


def test_forgotten_pages_are_read_again_when_asked(tmp_path: Path):
    big = torch.randn(64, 1024)
    torch.save({"net.w": big}, tmp_path / "a.pt")
    with open_weights(tmp_path / "a.pt") as file:
        assert torch.equal(file.read("net.w"), big)
        file.forget("net.w")
        assert torch.equal(file.read("net.w"), big)


def test_listing_a_file_needs_no_torch(tmp_path: Path):
    torch.save(WEIGHTS, tmp_path / "a.pt")
    program = (
        "import sys; from worldtune.checkpoint.reader import open_weights;"
        f"print(len(open_weights({str(tmp_path / 'a.pt')!r}).entries), 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert out.stdout.split() == [str(len(WEIGHTS)), "False"], out.stderr


DTYPES = [getattr(torch, name) for name in ITEM_BYTES]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tensors=st.dictionaries(
        st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3)),
        max_size=5,
    ),
    saver=st.sampled_from(list(SAVERS)),
)
def test_there_and_back_for_any_dtype_and_shape(tmp_path: Path, tensors, saver: str):
    if saver == "flat.safetensors":
        tensors = {name: row for name, row in tensors.items() if row[0] != torch.complex128}
    weights = {
        name: torch.randint(0, 2, [*shape, dtype.itemsize], dtype=torch.uint8)
        .view(dtype)
        .reshape(shape)
        for name, (dtype, shape) in tensors.items()
        if 0 not in shape
    }
    SAVERS[saver](weights, tmp_path / saver)
    with open_weights(tmp_path / saver) as file:
        assert set(file.entries) == set(weights)
        for name, tensor in weights.items():
            read = file.read(name)
            assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(as_bytes(read), as_bytes(tensor))


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_transposed_sliced_and_shared_tensors_come_back(tmp_path: Path, save):
    base = torch.arange(24.0).view(4, 6)
    weights = {"t": base.t(), "s": base[1:3, 2:5], "one": base[2, 3], "wide": base[:1].expand(3, 6)}
    save(weights, tmp_path / "a.pt")
    with open_weights(tmp_path / "a.pt") as file:
        for name, tensor in weights.items():
            assert torch.equal(file.read(name), tensor)


@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_a_module_state_dict_with_its_version_notes_is_read(tmp_path: Path, save):
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    save(module.state_dict(), tmp_path / "a.pt")
    with open_weights(tmp_path / "a.pt") as file:
        assert set(file.entries) == set(module.state_dict())
        assert torch.equal(file.read("0.weight"), module[0].weight)


def test_parameters_are_read_as_their_data(tmp_path: Path):
    weight = torch.nn.Parameter(torch.randn(3))
    torch.save({"w": weight}, tmp_path / "a.pt")
    with open_weights(tmp_path / "a.pt") as file:
        assert torch.equal(file.read("w"), weight.data)
        assert not file.read("w").requires_grad


def test_empty_extra_state_is_listed_apart_from_the_tensors(tmp_path: Path):
    torch.save(
        {
            "net.w": torch.ones(2),
            "net.a._extra_state": None,
            "net.b._extra_state": b"\x80\x04N.",
            "net.c._extra_state": io.BytesIO(b"anything"),
        },
        tmp_path / "a.pt",
    )
    with open_weights(tmp_path / "a.pt") as file:
        assert list(file.entries) == ["net.w"]
        assert list(file.others) == [f"net.{x}._extra_state" for x in "abc"]


@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_plain_python_values_come_as_they_are(tmp_path: Path, save):
    values = {"set": {3}, "bytes": b"ab\xff", "array": bytearray(b"cd"), "text": "ä", "n": 2**70}
    save({"w": torch.ones(1), **values, "dtype": torch.bfloat16}, tmp_path / "a.pt")
    others = dict(open_weights(tmp_path / "a.pt").others)
    assert others.pop("dtype") == "bfloat16"
    assert others == values


def test_an_average_packed_beside_the_model_gets_names_of_its_own(tmp_path: Path):
    torch.save(
        {
            "model": {"net.blocks.block0.x.weight": torch.ones(2), "logvar.0.freqs": torch.ones(1)},
            "ema": {"net-blocks-block0-x-weight": torch.zeros(2)},
            "trained_data_record": {"image": 0, "iteration": 40},
        },
        tmp_path / "iter_000000040_model_mp_0.pt",
    )
    with open_weights(tmp_path / "iter_000000040_model_mp_0.pt") as file:
        assert file.wrappers == ("model", "ema")
        assert set(file.entries) == {
            "net.blocks.block0.x.weight",
            "net_ema.blocks.block0.x.weight",
            "logvar.0.freqs",
        }
        assert file.read("net_ema.blocks.block0.x.weight").sum() == 0
        assert file.others["trained_data_record/iteration"] == 40


def test_a_split_file_without_average_is_read(tmp_path: Path):
    torch.save({"model": {"net.w": torch.ones(2)}, "ema": None}, tmp_path / "a.pt")
    with open_weights(tmp_path / "a.pt") as file:
        assert list(file.entries) == ["net.w"]
        assert file.wrappers == ("model",)


def test_one_name_in_two_wrappers_is_an_error(tmp_path: Path):
    torch.save({"model": {"w": torch.ones(2)}, "module": {"w": torch.ones(2)}}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"holds 'w' twice, in model and module"):
        open_weights(tmp_path / "a.pt")


def test_other_nesting_is_spelled_with_a_slash(tmp_path: Path):
    torch.save(
        {"state": {"w": {"exp_avg": torch.ones(2)}}, "groups": [{"lr": 0.1}]}, tmp_path / "o"
    )
    with open_weights(tmp_path / "o") as file:
        assert list(file.entries) == ["state/w/exp_avg"]
        assert file.others == {"groups/0/lr": 0.1}
        assert torch.equal(file.read_placed(file.tree["state"]["w"]["exp_avg"]), torch.ones(2))


def write_shards(folder: Path) -> Path:
    shards = {"m-00001-of-00002.safetensors": ["a"], "m-00002-of-00002.safetensors": ["b", "c"]}
    for shard, names in shards.items():
        save_file({name: torch.full((2,), float(ord(name))) for name in names}, folder / shard)
    index = folder / "m.safetensors.index.json"
    where = {name: shard for shard, names in shards.items() for name in names}
    index.write_text(json.dumps({"metadata": {"total_size": 24}, "weight_map": where}))
    return index


@pytest.mark.parametrize("give", ["index", "folder"])
def test_shards_are_read_as_one_file(tmp_path: Path, give: str):
    index = write_shards(tmp_path)
    with open_weights(index if give == "index" else tmp_path) as file:
        assert set(file.entries) == {"a", "b", "c"}
        assert file.kind is FileKind.INDEX
        assert all(file.read(name)[0] == ord(name) for name in "abc")


def test_a_missing_shard_is_named(tmp_path: Path):
    index = write_shards(tmp_path)
    (tmp_path / "m-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"1 of them are not there: m-00002-of-00002"):
        open_weights(index)


def test_a_shard_without_a_name_of_the_index_is_told(tmp_path: Path):
    index = write_shards(tmp_path)
    save_file({"b": torch.ones(2)}, tmp_path / "m-00002-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=r"'c' is not in m-00002-of-00002"):
        open_weights(index)


def test_an_index_that_leads_out_of_its_folder_is_refused(tmp_path: Path):
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../etc/secret.safetensors"}}))
    with pytest.raises(CheckpointError, match="another folder"):
        open_weights(index)


def test_a_file_larger_than_the_memory_is_listed_and_read(tmp_path: Path):
    """80 GiB with holes, so that hardly anything lies on the disk."""
    path = tmp_path / "big.safetensors"
    rows = (80 << 30) // (1 << 20)
    end = rows << 20
    header = json.dumps(
        {
            "huge": {"dtype": "U8", "shape": [rows, 1 << 20], "data_offsets": [0, end]},
            "last": {"dtype": "F32", "shape": [1], "data_offsets": [end, end + 4]},
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.seek(8 + len(header) + end)
        stream.write(torch.tensor([2.5]).numpy().tobytes())
    with open_weights(path) as file:
        assert file.entries["huge"].nbytes == 80 << 30
        assert file.read("last").item() == 2.5
        assert file.read("huge")[-1, -1] == 0


def test_a_system_that_refuses_the_map_is_told_with_a_next_step(saved: Path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with open_weights(saved) as file:
        monkeypatch.setattr("worldtune.checkpoint.pages.mmap.mmap", refuse)
        with pytest.raises(CheckpointError, match=r"cannot be mapped.*ulimit -v.*overcommit"):
            file.read("net.accum_iteration")


ODD_TENSORS = {
    "sparse": (lambda: torch.eye(2).to_sparse(), "_rebuild_sparse_tensor"),
    "of a class of its own": (lambda: Marked(torch.ones(1)), "_rebuild_from_type_v2"),
}


class Marked(torch.Tensor):
    """A subclass, as distributed tensors are."""


@pytest.mark.parametrize("case", ODD_TENSORS)
def test_a_tensor_of_an_odd_kind_is_refused_by_name(tmp_path: Path, case: str):
    make, name = ODD_TENSORS[case]
    torch.save({"w": make()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=rf"torch\.\w+\.{name}"):
        open_weights(tmp_path / "a.pt")


def test_a_conjugated_tensor_is_refused(tmp_path: Path):
    torch.save({"w": torch.ones(2, dtype=torch.complex64).conj()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="conjugated or negated"):
        open_weights(tmp_path / "a.pt")


class Touch:
    """An object that would make a file if its pickle were executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path, save):
    save({"net.w": torch.ones(2), "x": Touch(tmp_path / "made")}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"Python object, posix.mkdir.*execute code"):
        open_weights(tmp_path / "a.pt")
    assert not (tmp_path / "made").exists()


FORBIDDEN = ["c__builtin__\neval\n", "cbuiltins\ngetattr\n", "ctorch\nload\n", "cos\nsystem\n"]


@pytest.mark.parametrize("opcode", FORBIDDEN)
def test_a_name_that_is_not_needed_for_tensors_is_refused(tmp_path: Path, opcode: str):
    write_pickle(tmp_path / "a.pt", opcode.encode() + b".")
    with pytest.raises(CheckpointError, match="Python object"):
        open_weights(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "build",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}X\x05\x00\x00\x00_callK\x01stb.",
        b"ccollections\nOrderedDict\n(N}X\x0c\x00\x00\x00__setstate__K\x01stb.",
        b"c_io\nBytesIO\n(N}X\x0c\x00\x00\x00__setstate__K\x01stb.",
    ],
)
def test_a_pickle_cannot_change_the_reader(tmp_path: Path, build: bytes):
    write_pickle(tmp_path / "a.pt", build)
    with pytest.raises(CheckpointError, match="damaged"):
        open_weights(tmp_path / "a.pt")
    torch.save(collections.OrderedDict(w=torch.ones(1)), tmp_path / "b.pt")
    assert open_weights(tmp_path / "b.pt").read("w") == 1


def write_pickle(path: Path, code: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + code)
    return path


def test_a_pickle_cannot_ask_for_all_memory(tmp_path: Path):
    code = b"}r\xff\xff\xff\x7f."  # the empty mapping, kept as value number 2 billion
    with pytest.raises(CheckpointError, match="value number 2147483647 in 4 steps"):
        open_weights(write_pickle(tmp_path / "a.pt", code))


def test_containers_that_unfold_without_end_are_refused(tmp_path: Path):
    code = b"]q\x00" + b"".join(
        b"(" + bytes([ord("h"), level]) * 20 + b"lq" + bytes([level + 1]) for level in range(9)
    )
    with pytest.raises(CheckpointError, match="repeat without end"):
        open_weights(write_pickle(tmp_path / "a.pt", code + b"."))


def test_a_container_that_holds_itself_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="hold themselves"):
        open_weights(write_pickle(tmp_path / "a.pt", b"]q\x00h\x00a."))


WRONG = {
    "empty": (b"", "it is empty"),
    "web page": (b"\n<!DOCTYPE html><html>Log in</html>", "web page.*login"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    "zeros": (bytes(600), "all zeros"),
    "gzip": (b"\x1f\x8b\x08rest", "Unpack"),
    "pickle": (b"\x80\x04}q.", "plain pickle"),
    "json": (b'{"error": "not found"}', "JSON"),
    "other": (b"GGUF\x03\x00\x00\x00\x00\x00", "unknown format that begins with b'GGUF"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_of_another_kind_is_told_by_name(tmp_path: Path, case: str):
    content, message = WRONG[case]
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"(?s)holds no weights.*{message}"):
        open_weights(tmp_path / "model.pt")


def test_a_pointer_in_a_published_folder_names_the_command(tmp_path: Path):
    folder = tmp_path / "checkpoints/nvidia/Cosmos-Transfer1-7B-Sample-AV"
    folder.mkdir(parents=True)
    (folder / "base_model.pt").write_bytes(WRONG["pointer"][0])
    with pytest.raises(CheckpointError, match=r"hf download nvidia/Cosmos-Transfer1-7B-Sample-AV"):
        open_weights(folder / "base_model.pt")


def test_a_tar_archive_is_told_to_be_unpacked(tmp_path: Path):
    with tarfile.open(tmp_path / "a.pt", "w") as archive:
        archive.add(__file__, "x.py")
    with pytest.raises(CheckpointError, match="Unpack"):
        open_weights(tmp_path / "a.pt")


def test_a_zip_of_other_things_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("weights/model.bin", b"x")
    with pytest.raises(CheckpointError, match=r"no single data.pkl"):
        open_weights(tmp_path / "a.pt")


def test_a_torchscript_program_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.jit", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/constants.pkl", b"\x80\x02).")
    with pytest.raises(CheckpointError, match="TorchScript program"):
        open_weights(tmp_path / "a.jit")


def test_a_compressed_archive_is_refused(tmp_path: Path):
    torch.save({"w": torch.ones(9)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as old,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    with pytest.raises(CheckpointError, match="was compressed"):
        open_weights(tmp_path / "b.pt")


def test_big_endian_weights_are_refused(tmp_path: Path):
    torch.save({"w": torch.ones(9)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for info in old.infolist():
            body = b"big" if info.filename.endswith("byteorder") else old.read(info)
            new.writestr(info.filename, body)
    with pytest.raises(CheckpointError, match="byte order b'big'"):
        open_weights(tmp_path / "b.pt")


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(keep=st.floats(0.001, 0.999))
def test_a_file_cut_short_anywhere_is_never_read(saved: Path, keep: float):
    whole = saved.read_bytes()
    cut = saved.with_name("cut" + saved.suffix)
    cut.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(CheckpointError):
        open_weights(cut)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.floats(0, 0.9999), bit=st.integers(0, 7))
def test_a_flipped_bit_is_an_error_or_reads_as_something_and_never_crashes(
    saved: Path, at: float, bit: int
):
    damaged = bytearray(saved.read_bytes())
    damaged[int(len(damaged) * at)] ^= 1 << bit
    path = saved.with_name("damaged" + saved.suffix)
    path.write_bytes(damaged)
    try:
        with open_weights(path) as file:
            for name in file.entries:
                file.read(name)
    except CheckpointError:
        pass


def test_damaged_data_in_an_archive_is_found_by_its_checksum(tmp_path: Path):
    path = tmp_path / "a.pt"
    torch.save({"net.w": torch.full((64,), 3.0)}, path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x00\x00\x40\x40" * 8, b"\x00\x00\x40\x41" * 8, 1))
    with open_weights(path) as file:
        with pytest.raises(CheckpointError, match=r"data of 'net.w' .* has checksum"):
            file.read("net.w")
        assert file.read("net.w", verify=False).max() == 12.0


def test_a_file_saved_without_checksums_is_read(tmp_path: Path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"net.w": torch.ones(3)}, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(open_weights(tmp_path / "a.pt").read("net.w"), torch.ones(3))


def test_a_name_that_is_not_in_the_file_is_an_error(saved: Path):
    with open_weights(saved) as file, pytest.raises(CheckpointError, match="no tensor named 'x'"):
        file.read("x")


def test_a_folder_of_several_files_asks_which(tmp_path: Path):
    for name in ("hdmap_control.pt", "base_model.pt"):
        torch.save({}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"2 files \*.pt: base_model.pt, hdmap_control.pt"):
        open_weights(tmp_path)


def test_a_folder_without_weights_is_told(tmp_path: Path):
    with pytest.raises(CheckpointError, match="a folder without weights"):
        open_weights(tmp_path)


def test_odd_offsets_of_foreign_writers_are_read(tmp_path: Path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]}}).encode()
    header += b" " * (-len(header) % 8)
    data = b"\0" + torch.tensor([1.5, -2.0]).numpy().tobytes()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    assert open_weights(tmp_path / "a.safetensors").read("w").tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    "row",
    [
        {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "data_offsets": [0, 4]},
    ],
)
def test_a_safetensors_header_that_contradicts_itself_is_an_error(tmp_path: Path, row: dict):
    header = json.dumps({"w": row}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"1234")
    with pytest.raises(CheckpointError, match="damaged or not safetensors"):
        open_weights(tmp_path / "a.safetensors")
