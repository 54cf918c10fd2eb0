"""`implicit`'s full ranking: precision, MAP, NDCG and AUC at k over all users with test items."""

import statistics
import time

import implicit
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.evaluation import ranking_metrics_at_k

from data import arguments, load, matrix, report


def main() -> None:
    parser = arguments("Times implicit's full ranking.", epochs=False)
    parser.set_defaults(dim=64)
    parser.add_argument("--repeats", type=int, default=3, help="evaluations to measure, after one to warm up")
    parser.add_argument("-k", type=int, default=20)
    options = parser.parse_args()
    split = load(options.data_directory / options.data)
    train, test = matrix(split, split.train), matrix(split, split.test)
    # What the vectors hold hardly matters for the time; one epoch keeps the scores from being all alike.
    model = BayesianPersonalizedRanking(
        factors=options.dim, iterations=1, num_threads=options.threads, random_state=options.seed
    )
    model.fit(train, show_progress=False)
    seconds = []
    for _ in range(1 + options.repeats):
        start = time.perf_counter()
        metrics = ranking_metrics_at_k(
            model, train, test, K=options.k, show_progress=False, num_threads=options.threads
        )
        seconds.append(time.perf_counter() - start)
    figures = {
        "version": implicit.__version__,
        "k": options.k,
        "users": int((test.getnnz(axis=1) > 0).sum()),
        "eval_seconds": statistics.median(seconds[1:]),
        "evals_seconds": seconds[1:],
        "metrics": {name: round(float(value), 5) for name, value in metrics.items()},
    }
    report("implicit-ranking", options, **figures)


if __name__ == "__main__":
    main()
