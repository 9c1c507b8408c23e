"""Neighbours of one photograph among 8,189: ours against scikit-learn's brute force, in turns, on the same features."""

import argparse
import time

import numpy as np
from input import peak_memory, print_row
from sklearn.neighbors import NearestNeighbors

from flowerlib import neighbors

PHOTOGRAPHS, WIDTH, COUNT = 8_189, 1_280, 5
AIM_MS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description="Time one query for five neighbours; features are random numbers.")
    parser.add_argument("--queries", type=int, default=200, help="of each side and measure (default 200)")
    options = parser.parse_args()
    if options.queries < 1:
        parser.error("--queries is 1 or more")
    random = np.random.default_rng(0)
    features = random.standard_normal((PHOTOGRAPHS, WIDTH), dtype=np.float32)
    queries = random.standard_normal((options.queries, WIDTH), dtype=np.float32)
    print(f"{PHOTOGRAPHS:,} photographs, {WIDTH:,} features, {COUNT} neighbours, one query at a time")
    for metric in neighbors.METRICS:
        ours = neighbors.index(features, metric)
        theirs = NearestNeighbors(n_neighbors=COUNT, algorithm="brute", metric=metric).fit(features)
        spent: dict[str, list[float]] = {"ours": [], "scikit-learn": []}
        same = 0
        for query in queries:
            started = time.perf_counter()
            found, _ = neighbors.nearest(ours, query[None], COUNT)
            between = time.perf_counter()
            expected = theirs.kneighbors(query[None], return_distance=False)
            spent["ours"].append(1000 * (between - started))
            spent["scikit-learn"].append(1000 * (time.perf_counter() - between))
            same += int((found == expected).all())
        median = {side: float(np.median(each)) for side, each in spent.items()}
        missed = ": missed" if median["ours"] > AIM_MS else ""
        print_row(
            metric, f"{median['ours']:.1f} ms", f"aim {AIM_MS} ms or less{missed}; {same} of {len(queries)} the same"
        )
        print_row("  scikit-learn / ours", f"{median['scikit-learn'] / median['ours']:.1f}", "")
    print_row("peak memory", f"{peak_memory():.1f} GiB", "")


if __name__ == "__main__":
    main()
