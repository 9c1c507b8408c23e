"""Groups through their kinds: a network that was taught kinds answers with groups by adding up (numpy only).

A coarse group holds flowers that look nothing alike; which kind a photograph shows tells more than which group. Both
are known for every training photograph.
"""

import numpy as np

from flowerlib.errors import FlowerlibError
from flowerlib.metrics import softmax
from flowerlib.splits import Part, Split, coarse_map, fine_names


def kinds(split: Split, labels: str, fine: np.ndarray) -> tuple[Split, np.ndarray]:
    """The same pictures in the same parts, under the kinds that the groups are made of.

    Args:
        split: from ``splits.make`` with these labels.
        labels: "coarse-2024" or "coarse-2025".
        fine: int (n,) kind of every image of the data set.

    Returns:
        The split under the kinds, numbered in the official order without those that are in no group; and int64 (kinds,)
        the group of each.

    Raises:
        FlowerlibError: labels without groups.
    """
    if not labels.startswith("coarse-"):
        raise FlowerlibError(f"labels '{labels}' are no groups of kinds: use coarse-2024 or coarse-2025")
    group_of = coarse_map(labels)[0]
    present = np.flatnonzero(group_of >= 0)
    number = np.full(len(group_of), -1)
    number[present] = np.arange(len(present))
    train, validation, test = (Part(part.indices, number[fine[part.indices]]) for part in split.parts().values())
    return Split(train, validation, test, tuple(fine_names()[kind] for kind in present)), group_of[present]


def grouped(logits: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    """Probabilities of groups: those of their kinds, added up.

    Args:
        logits: float (n, kinds).
        group_of: int (kinds,), from ``kinds``.

    Returns:
        float64 (n, groups), rows that sum to one.
    """
    return softmax(logits) @ np.eye(group_of.max() + 1)[group_of]
