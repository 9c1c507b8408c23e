"""What a generator is told of a kind: features of a picture that might be one of it (Li et al. 2024, RCG).

In training a network is told the features of the very picture under the noise, in sampling features drawn from the
normal distribution of the kind: it learns from every picture what a few numbers say, and 102 kinds need no numbers of
their own.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA


@dataclass(frozen=True)
class Kinds:
    """Principal components of pictures' features, each with deviation 1, and how they are spread within kinds.

    Attributes:
        told: float32 (pictures, numbers), of the pictures that were fitted.
        means: float32 (kinds, numbers).
        factor: float32 (numbers, numbers), its product with its transpose is the covariance within kinds.
    """

    told: np.ndarray
    means: np.ndarray
    factor: np.ndarray

    def draw(self, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """What pictures of some kinds might look like, float32 (n, numbers).

        Args:
            labels: int (n,).
            random: draws them.
        """
        noise = random.standard_normal((len(labels), len(self.factor)), dtype=np.float32)
        result: np.ndarray = self.means[labels] + noise @ self.factor.T
        return result


def fit(features: np.ndarray, labels: np.ndarray, numbers: int, *, seed: int = 0) -> Kinds:
    """Components and their spread.

    Args:
        features: float (pictures, any).
        labels: int (pictures,), from 0; every kind has a picture.
        numbers: of components.
        seed: of their fit.
    """
    components = PCA(numbers, whiten=True, svd_solver="randomized", random_state=seed)
    told = components.fit_transform(np.asarray(features, np.float32))
    means = np.stack([told[labels == kind].mean(axis=0) for kind in range(labels.max() + 1)])
    within = np.cov(told - means[labels], rowvar=False)
    factor = np.linalg.cholesky(within + 1e-6 * np.eye(numbers))
    return Kinds(*(each.astype(np.float32) for each in (told, means, factor)))
