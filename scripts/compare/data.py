"""What the programs of this comparison share: data, settings, arguments and the object each prints."""

from __future__ import annotations

import argparse
import json
import math
import resource
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

DEFAULTS = Path(__file__).resolve().parents[2] / "crates/onebp/src/defaults.toml"


@dataclass(frozen=True)
class Pairs:
    """Interactions: `items[k]` was chosen by `users[k]`."""

    users: np.ndarray
    items: np.ndarray

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Split:
    """Train and test of one data set; ids are dense and shared by both."""

    user_count: int
    item_count: int
    train: Pairs
    test: Pairs


def load(folder: Path) -> Split:
    """Reads `train.csv` and `test.csv` (a header, then `user,item`) or `.txt` (`user item item ...`)."""
    parts = [_read(folder, part) for part in ("train", "test")]
    # The ids of both parts, as onebp numbers them: an item that only test knows is ranked all the same.
    users, user_codes = np.unique(np.concatenate([pairs.users for pairs in parts]), return_inverse=True)
    items, item_codes = np.unique(np.concatenate([pairs.items for pairs in parts]), return_inverse=True)
    cut = len(parts[0])
    train = Pairs(user_codes[:cut], item_codes[:cut])
    test = Pairs(user_codes[cut:], item_codes[cut:])
    return Split(len(users), len(items), train, test)


def _read(folder: Path, part: str) -> Pairs:
    table, lists = folder / f"{part}.csv", folder / f"{part}.txt"
    if table.exists():
        columns = np.loadtxt(table, delimiter=",", skiprows=1, usecols=(0, 1), dtype=np.int64, ndmin=2)
        return Pairs(columns[:, 0], columns[:, 1])
    if lists.exists():
        rows = [
            np.array(line.split(), dtype=np.int64) for line in lists.read_text().splitlines() if line.strip()
        ]
        users = np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows])
        return Pairs(users, np.concatenate([row[1:] for row in rows]))
    raise SystemExit(
        f"{folder}: no {part}.csv and no {part}.txt; name a folder with a split, such as ml-1m/split-authors"
    )


def matrix(split: Split, pairs: Pairs) -> csr_matrix:
    """Users by items, 1 where there is an interaction: what `implicit` takes."""
    from scipy.sparse import csr_matrix  # here, so that PyTorch's program needs no SciPy

    ones = np.ones(len(pairs), dtype=np.float32)
    return csr_matrix((ones, (pairs.users, pairs.items)), shape=(split.user_count, split.item_count))


def preset(data: str) -> dict[str, Any]:
    """The settings that `onebp --data DATA` takes from its own table of defaults."""
    defaults = tomllib.loads(DEFAULTS.read_text())
    return defaults["general"] | defaults["preset"].get(data.split("/")[0], {})


def arguments(about: str, *, epochs: bool = True) -> argparse.ArgumentParser:
    """The arguments that every program takes."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--data", required=True, metavar="NAME", help="folder in the data directory: train.*, test.*"
    )
    parser.add_argument("--data-directory", type=Path, default=Path("datasets"), metavar="DIR")
    parser.add_argument("--dim", type=int, help="embedding width d; the data set's preset otherwise")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, default=2022)
    if epochs:
        parser.add_argument("--epochs", type=int, default=3, help="epochs to measure, after those that warm up")
    return parser


def warm_up(split: Split) -> int:
    """Epochs before those that are measured, as in `onebp bench`: threads that have just begun may share a core for the
    time of several short ones."""
    return min(16, math.ceil((1 << 20) / len(split.train)))


def report(program: str, options: argparse.Namespace, **figures: Any) -> None:
    """Prints the one JSON object of a program."""
    common = {"program": program, "data": options.data, "dim": options.dim, "threads": options.threads}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    print(json.dumps(common | figures | {"peak_rss_bytes": peak}))
