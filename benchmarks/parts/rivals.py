"""Other ways to keep latents and texts on a disk, each written and read as its documentation says.

Each gives rows by number, or in a shuffled order of its own where that is what it is made for. Latents go in as bytes:
numpy, Arrow and tar know no bfloat16.
"""

import importlib
import importlib.metadata
import importlib.util
import itertools
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from benchmarks.parts.latent_rows import Batch, samples
from frostline.dataset import Dataset

Read = Callable[[Sequence[int], Batch], None]
"""Fill a batch: with these rows, or with the next ones where the order is the library's own."""
CHUNK_BYTES = 64 << 20
AT_HAND = 64  # rows that a shuffled stream draws from


class Rival(NamedTuple):
    """A way to keep rows."""

    figure: str  # its short name
    name: str
    package: str  # that it needs
    module: str  # of that package
    install: str
    write: Callable[[Path, Dataset], None]
    open: Callable[[Path, int], Read]  # told how many rows are read at a time
    batches: int  # at most, that are read in a round; few if it is slow

    @property
    def absent(self) -> bool:
        """Is its package not installed?"""
        return importlib.util.find_spec(self.module) is None

    @property
    def version(self) -> str:
        """Of its package."""
        return importlib.metadata.version(self.package)


def _put(batch: Batch, place: int, latent: Any, text: Any) -> None:
    """Take a row that came as bytes."""
    batch.latents[place] = np.frombuffer(latent, np.uint16).reshape(batch.latents.shape[1:])
    batch.texts[place] = np.frombuffer(text, np.uint16).reshape(batch.texts.shape[1:])


def _values(found: torch.Tensor) -> np.ndarray:
    """bfloat16 as numpy has it."""
    return found.view(torch.uint16).numpy()


def _tensor(values: np.ndarray) -> torch.Tensor:
    """The same as a tensor."""
    return torch.from_numpy(values).view(torch.bfloat16)


# --------------------------------------------------------------------------------------------------- HF datasets: Arrow


def _save(folder: Path, features: dict[str, Any], rows: Iterator[dict[str, Any]]) -> None:
    datasets: Any = importlib.import_module("datasets")

    datasets.disable_progress_bars()
    made: Any = datasets.Dataset.from_list(list(rows), features=datasets.Features(features))
    made.save_to_disk(str(folder))


def _load(folder: Path) -> Any:
    datasets: Any = importlib.import_module("datasets")

    return datasets.load_from_disk(str(folder))


def _write_arrow(folder: Path, dataset: Dataset) -> None:
    datasets: Any = importlib.import_module("datasets")

    rows = ({"latent": one.latent.tobytes(), "text": one.text.tobytes()} for one in samples(dataset))
    _save(folder, dict.fromkeys(("latent", "text"), datasets.Value("large_binary")), rows)


def _open_arrow(folder: Path, _: int) -> Read:
    """Bytes, a row at a time: faster than several at once, which are joined before they are taken apart."""
    rows = _load(folder)

    def read(numbers: Sequence[int], batch: Batch) -> None:
        for place, number in enumerate(numbers):
            found = rows[number]
            _put(batch, place, found["latent"], found["text"])

    return read


def _open_mapped(folder: Path, _: int) -> Read:
    """Bytes where they are mapped: the documentation of neither library shows it."""
    rows = _load(folder).with_format("arrow")

    def read(numbers: Sequence[int], batch: Batch) -> None:
        for place, number in enumerate(numbers):
            found = rows[number]
            _put(batch, place, found["latent"][0].as_buffer(), found["text"][0].as_buffer())

    return read


def _write_arrays(folder: Path, dataset: Dataset) -> None:
    datasets: Any = importlib.import_module("datasets")

    one = next(samples(dataset))
    latent, text = datasets.Array4D(one.latent.shape, "uint16"), datasets.Array2D(one.text.shape, "uint16")
    _save(folder, {"latent": latent, "text": text}, (each._asdict() for each in samples(dataset)))


def _open_arrays(folder: Path, _: int) -> Read:
    """Arrays, several rows at once: faster than one at a time."""
    rows = _load(folder).with_format("numpy", dtype=np.uint16)

    def read(numbers: Sequence[int], batch: Batch) -> None:
        found = rows[list(numbers)]
        batch.latents[:], batch.texts[:] = found["latent"], found["text"]

    return read


# ---------------------------------------------------------------------------------------------- MosaicML streaming: MDS


def _streaming() -> Any:
    """The package, without torchvision: its datasets of pictures are imported with it, and rows do not need them."""
    importlib.import_module("transformers")  # looks for torchvision, and need not find what stands there meanwhile
    names = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")
    stand_ins = {name: types.ModuleType(name) for name in names}
    vars(stand_ins["torchvision.datasets"])["VisionDataset"] = object
    vars(stand_ins["torchvision.transforms.functional"])["to_tensor"] = None
    sys.modules.update(stand_ins)
    try:
        return importlib.import_module("streaming")
    finally:
        for name in names:
            del sys.modules[name]


def _write_mds(folder: Path, dataset: Dataset) -> None:
    columns = {"latent": "ndarray:uint16", "text": "ndarray:uint16"}
    with _streaming().MDSWriter(out=str(folder), columns=columns, size_limit=CHUNK_BYTES) as writer:
        for sample in samples(dataset):
            writer.write({"latent": sample.latent, "text": sample.text})


def _open_mds(folder: Path, size: int) -> Read:
    rows: Any = _streaming().StreamingDataset(local=str(folder), batch_size=size)

    def read(numbers: Sequence[int], batch: Batch) -> None:
        for place, number in enumerate(numbers):
            found = rows[number]
            batch.latents[place], batch.texts[place] = found["latent"], found["text"]

    return read


# -------------------------------------------------------------------------------------------------------------- LitData


def _write_litdata(folder: Path, dataset: Dataset) -> None:
    streaming: Any = importlib.import_module("litdata.streaming")
    cache = streaming.Cache(str(folder), chunk_bytes=CHUNK_BYTES)
    for number, sample in enumerate(samples(dataset)):
        cache[number] = {name: torch.from_numpy(values.view(np.int16)) for name, values in sample._asdict().items()}
    cache.done()
    cache.merge()


def _open_litdata(folder: Path, _: int) -> Read:
    litdata: Any = importlib.import_module("litdata")

    rows: Any = litdata.StreamingDataset(str(folder))

    def read(numbers: Sequence[int], batch: Batch) -> None:
        for place, number in enumerate(numbers):
            _from_litdata(batch, place, rows[number])

    return read


def _stream_litdata(folder: Path, _: int) -> Read:
    litdata: Any = importlib.import_module("litdata")

    rows = _endless(lambda: litdata.StreamingDataset(str(folder), shuffle=True))

    def read(numbers: Sequence[int], batch: Batch) -> None:
        for place in range(len(numbers)):
            _from_litdata(batch, place, next(rows))

    return read


def _from_litdata(batch: Batch, place: int, found: Any) -> None:
    latent, text = (found[name].numpy().view(np.uint16) for name in ("latent", "text"))
    batch.latents[place], batch.texts[place] = latent, text


def _endless(again: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    return itertools.chain.from_iterable(again() for _ in itertools.count())


# ----------------------------------------------------------------------------------------------------- WebDataset: tars


def _write_tars(folder: Path, dataset: Dataset) -> None:
    webdataset: Any = importlib.import_module("webdataset")

    with webdataset.ShardWriter(str(folder / "%06d.tar"), maxsize=CHUNK_BYTES, verbose=0) as writer:
        for number, sample in enumerate(samples(dataset)):
            writer.write({"__key__": f"{number:08d}", "latent.npy": sample.latent, "text.npy": sample.text})


def _stream_tars(folder: Path, _: int) -> Read:
    webdataset: Any = importlib.import_module("webdataset")

    shards = sorted(map(str, folder.glob("*.tar")))
    made: Any = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=0)
    rows = iter(made.shuffle(AT_HAND).decode().to_tuple("latent.npy", "text.npy").repeat())

    def read(numbers: Sequence[int], batch: Batch) -> None:
        for place in range(len(numbers)):
            batch.latents[place], batch.texts[place] = next(rows)

    return read


# --------------------------------------------------------------------------------------------- a safetensors file a row


def _write_safetensors(folder: Path, dataset: Dataset) -> None:
    for number, sample in enumerate(samples(dataset)):
        tensors = {"latent": _tensor(sample.latent), "text": _tensor(sample.text)}
        save_file(tensors, folder / f"{number:08d}.safetensors")


def _open_safetensors(folder: Path, _: int) -> Read:
    def read(numbers: Sequence[int], batch: Batch) -> None:
        for place, number in enumerate(numbers):
            found = load_file(folder / f"{number:08d}.safetensors")
            batch.latents[place], batch.texts[place] = _values(found["latent"]), _values(found["text"])

    return read


# ------------------------------------------------------------------------- parquet: float32, zstd, all in one row group


def _write_zstd(folder: Path, dataset: Dataset) -> None:
    rows = [(_floats(sample.latent), _floats(sample.text)) for sample in samples(dataset)]
    table = pa.table({"latent": [latent for latent, _ in rows], "text": [text for _, text in rows]})
    pq.write_table(table, folder / "rows.parquet", compression="zstd", row_group_size=len(rows))


def _floats(values: np.ndarray) -> bytes:
    return _tensor(values).float().numpy().tobytes()


def _open_zstd(folder: Path, _: int) -> Read:
    file = pq.ParquetFile(folder / "rows.parquet")

    def read(numbers: Sequence[int], batch: Batch) -> None:
        group = file.read_row_group(0, use_threads=False).take(list(numbers))
        for place, (latent, text) in enumerate(zip(group["latent"], group["text"], strict=True)):
            _put(batch, place, _halves(latent), _halves(text))

    return read


def _halves(found: pa.Scalar) -> np.ndarray:
    return _values(torch.from_numpy(np.frombuffer(found.as_buffer(), np.float32).copy()).bfloat16())


PEERS = "pip install -c constraints.txt -e .[pipeline,peers]"
LOOSE = f"{PEERS}, then pip install --no-deps -c constraints.txt litdata mosaicml-streaming"
MAPPED = Rival(
    "arrow_mapped", "HF datasets, mapped bytes", "datasets", "datasets", PEERS, _write_arrow, _open_mapped, 4
)
ALL = (
    Rival("arrow", "HF datasets, bytes", "datasets", "datasets", PEERS, _write_arrow, _open_arrow, 4),
    Rival("arrow_arrays", "HF datasets, arrays", "datasets", "datasets", PEERS, _write_arrays, _open_arrays, 4),
    MAPPED,
    Rival("mds", "MosaicML streaming", "mosaicml-streaming", "streaming", LOOSE, _write_mds, _open_mds, 4),
    Rival("litdata", "LitData by index", "litdata", "litdata", LOOSE, _write_litdata, _open_litdata, 4),
    Rival("litdata_shuffled", "LitData in its order", "litdata", "litdata", LOOSE, _write_litdata, _stream_litdata, 4),
    Rival("webdataset", "WebDataset in its order", "webdataset", "webdataset", PEERS, _write_tars, _stream_tars, 2),
    Rival("safetensors", "a file a row", "safetensors", "safetensors", PEERS, _write_safetensors, _open_safetensors, 4),
    Rival("zstd_group", "float32, zstd, one row group", "pyarrow", "pyarrow", PEERS, _write_zstd, _open_zstd, 1),
)
