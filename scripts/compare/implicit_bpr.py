"""Epochs of `implicit`'s BPR on the CPU: the usual yardstick for speed, though it does other work than OneBP.

One of its epochs draws as many positives as there are interactions, with replacement, and for each one
negative in proportion to popularity; where the user has chosen that, the draw is skipped, not repeated. The
three vectors and the items' biases then move by plain SGD, without locks between threads.
"""

import statistics

import implicit
from implicit.cpu.bpr import BayesianPersonalizedRanking

from data import arguments, load, matrix, preset, report, warm_up


def main() -> None:
    options = arguments("Times epochs of implicit's BPR.").parse_args()
    options.dim = options.dim or preset(options.data)["dim"]
    split = load(options.data_directory / options.data)
    warm = warm_up(split)
    seconds: list[float] = []
    model = BayesianPersonalizedRanking(
        factors=options.dim,
        iterations=warm + options.epochs,
        num_threads=options.threads,
        random_state=options.seed,
    )
    # The callback is told how long the epoch took, without the making of the tables.
    model.fit(
        matrix(split, split.train), show_progress=False, callback=lambda _, spent, *__: seconds.append(spent)
    )
    epochs = seconds[warm:]
    epoch = statistics.median(epochs)
    figures = {
        "version": implicit.__version__,
        "epoch_seconds": epoch,
        "epochs_seconds": epochs,
        "pairs_per_second": len(split.train) / epoch,
    }
    report("implicit-bpr", options, **figures)


if __name__ == "__main__":
    main()
