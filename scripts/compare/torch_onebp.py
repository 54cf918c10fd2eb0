"""OneBP in PyTorch, as fast as we could make it without leaving Python: what `onebp` is measured against.
With --autograd as one would write it, with `nn.Embedding`, cross entropy and `backward`.

The step: scores s = <u, v> of a positive and S negatives; L = mean(logsumexp(s) - s_0), whose gradient goes
into the items only; dense Adam on the items; then u <- beta u + (1 - beta) v_i, for one of the interactions
where a user occurs in a batch more than once.

Tried and not kept, in CPU milliseconds a step on one thread (ML-1M's shape at d 128 / Gowalla's at d 1024),
against 0.8 / 35 for this file at that time:
- `nn.Embedding` and autograd (--autograd), whose dense gradient is allocated anew at each step: 2.5 / 106
- the closed-form gradient without buffers that live on, so that every step pages memory in: 4 / 64
- instead of `index_add_`: `scatter_add_` 0.9 / 36, a sparse times a dense matrix 1.0 / 38,
  `embedding_dense_backward` 1.0 / 93; `index_add_` by 32-bit indices takes two to four times as long
- Adam with `foreach=True` or with neither: slower than `fused=True`
- the product of item rows with a user as a column, not as a row: up to seven times as long
`torch.compile` is not used: at these sizes the time lies in the memory traffic of single operations. Nor is a
CUDA graph, although small tables on CUDA spend their time on launching kernels.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from data import Split, arguments, load, preset, report, warm_up

LARGEST_BITMAP = 4 << 30  # bytes
Result = TypeVar("Result")


class Sampler:
    """Shuffled interactions with negatives their users have not chosen, a whole epoch at once."""

    def __init__(self, split: Split, negatives: int, device: torch.device) -> None:
        self.users = torch.from_numpy(split.train.users).to(device)
        self.items = torch.from_numpy(split.train.items).to(device)
        self.item_count, count = split.item_count, len(split.train)
        keys, pairs = self.users * self.item_count + self.items, split.user_count * split.item_count
        self.bitmap, self.sorted_keys = None, None
        if pairs <= LARGEST_BITMAP:
            self.bitmap = torch.zeros(pairs, dtype=torch.bool, device=device)
            self.bitmap[keys] = True
        else:
            self.sorted_keys = keys.sort().values
        # Half the memory traffic wherever a key fits.
        self.dtype = torch.int32 if pairs < 1 << 31 else torch.int64
        # Kept from epoch to epoch, since paging memory in costs more than filling it.
        self.negatives = torch.empty((count, negatives), dtype=self.dtype, device=device)
        self.keys = torch.empty_like(self.negatives)
        self.choices = torch.empty((count, 1 + negatives), dtype=torch.int64, device=device)

    def epoch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Users [P] and items [P, 1 + S] of all P interactions in random order, positives first.

        The next epoch overwrites the items.
        """
        order = torch.randperm(len(self.users), device=self.users.device)
        users = self.users[order]
        first_keys = (users * self.item_count).to(self.dtype)
        torch.randint(self.item_count, self.negatives.shape, out=self.negatives)
        torch.add(self.negatives, first_keys.unsqueeze(1), out=self.keys)
        rejected = self._chosen(self.keys.view(-1)).nonzero().squeeze(1)
        while len(rejected):
            drawn = torch.randint(self.item_count, rejected.shape, dtype=self.dtype, device=rejected.device)
            self.negatives.view(-1)[rejected] = drawn
            again = self._chosen(first_keys[rejected // self.negatives.shape[1]] + drawn)
            rejected = rejected[again]
        self.choices[:, 0] = self.items[order]
        self.choices[:, 1:] = self.negatives
        return users, self.choices

    def _chosen(self, keys: torch.Tensor) -> torch.Tensor:
        """Which of the keys (user * items + item) are interactions."""
        if self.bitmap is not None:
            return self.bitmap.index_select(0, keys)
        places = torch.searchsorted(self.sorted_keys, keys).clamp_(max=len(self.sorted_keys) - 1)
        return self.sorted_keys[places] == keys


class OneBP:
    """Both tables and everything a step needs, allocated once."""

    def __init__(self, split: Split, dim: int, settings: dict, device: torch.device) -> None:
        def normal(rows: int) -> torch.Tensor:
            return torch.nn.init.xavier_normal_(torch.empty(rows, dim, device=device))

        self.users, self.items = normal(split.user_count), normal(split.item_count)
        self.beta = settings["beta"]
        self.items.grad = self.gradient = torch.zeros_like(self.items)
        self.adam = torch.optim.Adam(
            [self.items], lr=settings["lr"], eps=1e-8, weight_decay=settings["weight-decay"], fused=True
        )
        self.batch, choices = settings["batch-size"], 1 + settings["negatives"]
        self.user_rows = torch.empty(self.batch, dim, device=device)
        self.item_rows = torch.empty(self.batch * choices, dim, device=device)
        self.row_gradients = torch.empty(self.batch, choices, dim, device=device)
        self.products = torch.empty(self.batch, 1, choices, device=device)
        self.scores = torch.empty(choices, self.batch, device=device)
        # Clearing single rows costs more each, and pays where a step leaves most of a large table alone.
        self.clears_rows = 4 * self.batch * choices < split.item_count

    @torch.no_grad()
    def step(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """One step with users [B] and items [B, 1 + S]; the loss before it."""
        touched, (batch, choices) = items.view(-1), items.shape
        torch.index_select(self.users, 0, users, out=self.user_rows)
        torch.index_select(self.items, 0, touched, out=self.item_rows)
        rows = self.item_rows.view(batch, choices, -1)
        torch.bmm(self.user_rows.unsqueeze(1), rows.transpose(1, 2), out=self.products)
        # Softmax down the columns is vectorised; along rows of 1 + S it takes ten times as long.
        slopes = torch.log_softmax(self.scores.copy_(self.products.squeeze(1).t()), dim=0)
        loss = -slopes[0].mean()
        slopes.exp_()[0] -= 1
        slopes /= batch
        torch.mul(slopes.t().unsqueeze(2), self.user_rows.unsqueeze(1), out=self.row_gradients)
        if not self.clears_rows:
            self.gradient.zero_()
        self.gradient.index_add_(0, touched, self.row_gradients.view(batch * choices, -1))
        self.adam.step()
        if self.clears_rows:
            self.gradient.index_fill_(0, touched, 0)
        chosen = self.items.index_select(0, items[:, 0])
        self.users[users] = torch.lerp(chosen, self.user_rows, self.beta)
        return loss

    def epoch(self, users: torch.Tensor, items: torch.Tensor, steps: int) -> torch.Tensor:
        """`steps` steps; their mean loss, not yet waited for."""
        total = torch.zeros((), device=users.device)
        for start in range(0, steps * self.batch, self.batch):
            batch = slice(start, start + self.batch)
            total += self.step(users[batch], items[batch])
        return total / steps


class OneBPWithAutograd(OneBP):
    """The same step from PyTorch's own parts."""

    def __init__(self, split: Split, dim: int, settings: dict, device: torch.device) -> None:
        super().__init__(split, dim, settings, device)
        self.embedding = torch.nn.Embedding.from_pretrained(self.items, freeze=False)
        self.items, self.gradient = self.embedding.weight, None
        self.adam = torch.optim.Adam(
            self.embedding.parameters(), lr=settings["lr"], weight_decay=settings["weight-decay"], fused=True
        )
        self.first = torch.zeros(self.batch, dtype=torch.int64, device=device)

    def step(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        user_rows = self.users[users]  # no parameter: no gradient
        scores = torch.bmm(self.embedding(items), user_rows.unsqueeze(2)).squeeze(2)
        loss = torch.nn.functional.cross_entropy(scores, self.first)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        with torch.no_grad():
            self.users[users] = torch.lerp(self.items[items[:, 0]], user_rows, self.beta)
        return loss.detach()


def timed(device: torch.device, work: Callable[..., Result], *inputs: Any) -> tuple[float, Result]:
    """Seconds that `work` took on the device, and what it gave."""
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronize()
    start = time.perf_counter()
    result = work(*inputs)
    synchronize()
    return time.perf_counter() - start, result


def main() -> None:
    parser = arguments("Times epochs of OneBP in PyTorch.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--weight-decay", type=float)
    parser.add_argument("--autograd", action="store_true", help="through nn.Embedding and backward")
    parser.add_argument("--steps", type=int, help="measure the first STEPS steps of an epoch and extrapolate")
    parser.add_argument("--losses", action="store_true", help="also report the loss of every epoch")
    options = parser.parse_args()
    settings = preset(options.data)
    settings["lr"] = settings["lr"] if options.lr is None else options.lr
    if options.weight_decay is not None:
        settings["weight-decay"] = options.weight_decay
    options.dim = options.dim or settings["dim"]
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    device = torch.device(options.device)

    split = load(options.data_directory / options.data)
    sampler = Sampler(split, settings["negatives"], device)
    model = (OneBPWithAutograd if options.autograd else OneBP)(split, options.dim, settings, device)
    whole = len(split.train) // model.batch  # the incomplete last batch is left out, as onebp does
    steps = min(options.steps or whole, whole)
    sampling, compute, losses = [], [], []
    warm = 1 if options.steps else warm_up(split)
    for _ in range(warm + options.epochs):
        seconds, (users, items) = timed(device, sampler.epoch)
        sampling.append(seconds)
        seconds, loss = timed(device, model.epoch, users, items, steps)
        compute.append(seconds * whole / steps)
        losses.append(round(loss.item(), 5))
    epochs = [a + b for a, b in zip(sampling[warm:], compute[warm:], strict=True)]
    epoch = statistics.median(epochs)
    figures = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "version": torch.__version__,
        "epoch_seconds": epoch,
        "sampling_seconds": statistics.median(sampling[warm:]),
        "compute_seconds": statistics.median(compute[warm:]),
        "epochs_seconds": epochs,
        "pairs_per_second": whole * model.batch / epoch,
        "measured_steps": steps,
        "steps": whole,
        "loss": losses[-1],
    }
    report("torch", options, **figures, **({"losses": losses} if options.losses else {}))


if __name__ == "__main__":
    main()
