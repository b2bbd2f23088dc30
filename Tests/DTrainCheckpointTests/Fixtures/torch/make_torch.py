"""Writes the PyTorch files beside this script, and for each one NAME.safetensors: what torch.load makes of it (PyTorch 2.13).

    python make_torch.py
"""
import collections, io, os, pickle, struct, zipfile
import torch
from safetensors.torch import save_file

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(1)


def expect(name, tensors):
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, name + ".safetensors")


def save(name, value, expected=None, legacy=False):
    torch.save(value, name + ".pth", _use_new_zipfile_serialization=not legacy)
    if expected is not None:
        expect(name, expected)


# Every type that safetensors and dtrain both read, and every kind of view.
base = torch.arange(60, dtype=torch.float32) / 7
double = torch.arange(24, dtype=torch.float64).reshape(2, 3, 4) / 3
tensors = {
    "f32": torch.randn(2, 3),
    "f64": torch.tensor([0.1, -1e300], dtype=torch.float64),
    "f16": torch.tensor([1.5, -0.0, 65504.0, 6e-8, float("inf")], dtype=torch.float16),
    "bf16": torch.tensor([[1.5, -3.0], [1e38, 1e-40]], dtype=torch.bfloat16),
    "i64": torch.tensor([2**40 + 1, -(2**62)]),
    "i32": torch.tensor([[3], [-(2**31)]], dtype=torch.int32),
    "i16": torch.tensor([-32768, 5], dtype=torch.int16),
    "i8": torch.tensor([-128, 127], dtype=torch.int8),
    "u8": torch.tensor([0, 7, 255], dtype=torch.uint8),
    "u16": torch.tensor([0, 65535], dtype=torch.uint16),
    "u32": torch.tensor([0, 2**32 - 1], dtype=torch.uint32),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(2.5),
    "counter": torch.tensor(2**40 + 1),
    "empty": torch.zeros(0, 4),
    "view.whole": base.view(3, 4, 5),
    "view.rows": base.view(12, 5)[2:7],
    "view.columns": base.view(12, 5)[:, 1:3],
    "view.transposed": base.view(12, 5).t(),
    "view.permuted": base.view(3, 4, 5).permute(2, 0, 1),
    "view.every_third": base[1::3],
    "view.diagonal": base[:49].view(7, 7).diagonal(),
    "view.element": base[41],
    "view.expanded": base[4:7].view(3, 1).expand(3, 4),
    "view.unfolded": base.unfold(0, 8, 4),
    "view.empty": base[60:],
    "double.transposed": double.transpose(0, 2),
    "small.transposed": torch.arange(6, dtype=torch.int8).reshape(2, 3).t(),
    "half.transposed": torch.arange(6, dtype=torch.float16).reshape(2, 3).t(),
    "channels_last": torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last),
    "parameter": torch.nn.Parameter(torch.randn(3)),
    "größe.weight": torch.ones(1),
}
tagged = torch.randn(2)
tagged.note = "an attribute: rebuilt from a type"
tensors["tagged"] = tagged
save("types", tensors, tensors)
# The older format knows no unsigned types above 8 bits (their storage has no class).
older = {k: v for k, v in tensors.items() if k not in ("u16", "u32")}
save("types-legacy", older, older, legacy=True)
torch.serialization.set_crc32_options(False)
save("types-unchecked", tensors)
torch.serialization.set_crc32_options(True)

# A training program's checkpoint of a wrapped model.
model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(12, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
model(torch.randn(5, 2, 4, 4)).sum().backward()
optimizer.step()
state = model.state_dict()
wrapped = collections.OrderedDict(("module." + k, v) for k, v in state.items())
wrapped._metadata = state._metadata
checkpoint = {"epoch": 3, "arch": "tiny", "best": 0.5, "seen": {1, 2}, "frozen": frozenset([3]), "none": None,
              "big": 2**70, "negative": -2**40, "bytes": b"\x00\x01", "done": (True, False), "long": "x" * 300,
              "state_dict": wrapped, "optimizer": optimizer.state_dict()}
save("nested", checkpoint, state)
save("nested-legacy", checkpoint, legacy=True)
for protocol in (3, 4, 5):
    torch.save({"model": model.state_dict()}, f"protocol{protocol}.pth", pickle_protocol=protocol)

# Other ways to write the same archive.
plain = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(40, 5).t(), "h": torch.ones(3).half()}
buffer = io.BytesIO()
torch.save(plain, buffer)
source = zipfile.ZipFile(buffer)
contents = {info.filename: source.read(info) for info in source.infolist()}


def write_zip(path, contents, method):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)


write_zip("deflated.pth", contents, zipfile.ZIP_DEFLATED)
expect("deflated", plain)
prefix = next(iter(contents)).split("/")[0]
widths = {"0": 4, "1": 8, "2": 4, "3": 2}
swapped = dict(contents)
swapped[prefix + "/byteorder"] = b"big"
for key, width in widths.items():
    data = contents[f"{prefix}/data/{key}"]
    swapped[f"{prefix}/data/{key}"] = b"".join(data[i:i + width][::-1] for i in range(0, len(data), width))
write_zip("big-endian.pth", swapped, zipfile.ZIP_STORED)
with zipfile.ZipFile("zip64.pth", "w") as archive:     # every size and place in 64 bits, as beyond 4 GB
    for name, content in contents.items():
        with archive.open(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), "w", force_zip64=True) as entry:
            entry.write(content)
    entries = archive.infolist()
data = open("zip64.pth", "rb").read()
data = data[:archive.start_dir]
directory = b""
for info in entries:
    extra = struct.pack("<HHQQQ", 1, 24, info.file_size, info.compress_size, info.header_offset)
    name = info.filename.encode()
    directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 45, 45, 0, 0, 0, 33, info.CRC, 2**32 - 1, 2**32 - 1,
                             len(name), len(extra), 0, 0, 0, 0, 2**32 - 1) + name + extra
record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, len(entries), len(entries), len(directory), len(data))
locator = struct.pack("<IIQI", 0x07064B50, 0, len(data) + len(directory), 1)
end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
open("zip64.pth", "wb").write(data + directory + record + locator + end)
for name in ("deflated", "big-endian", "zip64"):
    loaded = torch.load(name + ".pth")
    assert all(torch.equal(loaded[k], plain[k]) for k in plain), name


# As PyTorch 0.3 under Python 2 wrote: the first rebuilder, storages of a GPU, views of storages, an OrderedDict built from pairs.
class Storage:
    def __init__(self, kind, key, count, view=None):
        self.name = ("storage", kind, key, "cuda:0" if kind.__module__ == "torch.cuda" else "cpu", count, view)


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.name if isinstance(value, Storage) else None


def rebuild(storage, offset, size, stride):
    return Call(torch._utils._rebuild_tensor, storage, offset, size, stride)


values = torch.arange(20, dtype=torch.float32)
counts = torch.arange(4)
pairs = [
    ["features.denseblock1.denselayer1.norm.1.weight", rebuild(Storage(torch.cuda.FloatStorage, "100", 20), 2, (3,), (1,))],
    ["features.denseblock1.denselayer1.conv.1.weight",
     rebuild(Storage(torch.cuda.FloatStorage, "100", 20, ("101", 5, 10)), 1, (2, 3), (1, 2))],
    ["count", rebuild(Storage(torch.LongStorage, "7", 4), 0, (4,), (1,))],
]
with open("pytorch-0.3.pth", "wb") as file:
    for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
        pickle.dump(value, file, protocol=2)
    Pickler(file, protocol=2).dump(Call(collections.OrderedDict, pairs))
    pickle.dump(["7", "100"], file, protocol=2)
    for tensor in (counts, values):
        file.write(struct.pack("<q", tensor.numel()) + tensor.numpy().tobytes())
expect("pytorch-0.3", {"features.denseblock1.denselayer1.norm.1.weight": values[2:5],
                       "features.denseblock1.denselayer1.conv.1.weight": values[5:15][1:].as_strided((2, 3), (1, 2)),
                       "count": counts})

# What a state dictionary may hold that dtrain does not read, and one thing that it does.
save("odd", {
    "fine": torch.ones(2), "f8": torch.ones(2).to(torch.float8_e4m3fn), "u64": torch.ones(2).to(torch.uint64),
    "complex": torch.ones(2, dtype=torch.complex64), "sparse": torch.eye(3).to_sparse(), "number": 3, "text": "x",
    "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "negated": torch.tensor([1 + 2j]).conj().imag, "device": torch.device("cpu"),
})
save("module", torch.nn.Linear(2, 2))
save("list", [torch.ones(2)])


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


save("evil-system", {"weight": torch.ones(2), "bias": Evil(os.system, "touch /tmp/dtrain-evil")})
save("evil-eval", {"state_dict": Evil(eval, "open('/tmp/dtrain-evil', 'w')")}, legacy=True)
save("evil-root", Evil(exec, "open('/tmp/dtrain-evil', 'w')"))
