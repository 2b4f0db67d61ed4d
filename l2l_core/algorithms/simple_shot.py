"""SimpleShot and its neighbour: no meta-learning, but a good classifier's features, centred and brought to length 1.

Letters in shapes: B tasks, N ways, M support examples, Q queries, D embedding.
"""

from torch import Tensor, nn

from l2l_core.algorithms.metric import Head
from l2l_core.algorithms.normalisation import Norm
from l2l_core.algorithms.pretrained import PretrainedLearner
from l2l_core.errors import UnknownNameError
from l2l_core.nn.metric_heads import SIMILARITIES, cl2n, cl2n_logits, cosine_logits, nearest_neighbour_logits


class SimpleShot(PretrainedLearner):
    """SimpleShot CL2N: the nearest centroid, embeddings having been centred by the base mean and brought to length 1.

    Args:
        backbone, width, classes, classifier, norm: as of `PretrainedLearner`.
        similarity: "euclidean", the paper's, or "cosine" of query and centroid, which are the same with one shot.

    Symbols of the paper and what they are here:
        f_θ(I), the features: ``backbone``.
        W, the classifier of the base classes C_base: ``classifier``.
        x̄, the mean feature of the base set: ``base_mean``, which follows the training; in the paper it is computed
            when the training is over. Before any training it is 0, and CL2N is the paper's L2N.
        d(·, ·), the distance: the Euclidean; its square here, so that the logits are a Gaussian's. It decides alike.

    Raises:
        UnknownNameError: no similarity of that name.

    Source: Wang et al. 2019, section 3; mileyan/simple_shot.
    """

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        classes: int,
        classifier: nn.Module | None = None,
        norm: Norm = "running",
        similarity: str = "euclidean",
    ) -> None:
        super().__init__(backbone, width, classes, classifier, norm)
        if similarity not in SIMILARITIES:
            raise UnknownNameError("similarity", similarity, SIMILARITIES)
        self.similarity = similarity

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """Minus the squared distances to the centroids, or cosines."""
        mean_D = self.base_mean
        if self.similarity == "cosine":
            support = cl2n(support_BMD, mean_D)
            return lambda query_BQD: cosine_logits(support, support_y, cl2n(query_BQD, mean_D), ways)
        return lambda query_BQD: cl2n_logits(support_BMD, support_y, query_BQD, ways, mean_D)


class NearestNeighbour(PretrainedLearner):
    """The class of the nearest support example, among embeddings that passed CL2N as `SimpleShot`'s do.

    With one shot it is `SimpleShot`.

    Args:
        backbone, width, classes, classifier, norm: as of `PretrainedLearner`.

    Source: Wang et al. 2019, section 3, for the embeddings.
    """

    def fit(self, support_BMD: Tensor, support_y: Tensor, ways: int) -> Head:
        """Minus the squared distance to the nearest support example of each class."""
        mean_D = self.base_mean
        support = cl2n(support_BMD, mean_D)
        return lambda query_BQD: nearest_neighbour_logits(support, support_y, cl2n(query_BQD, mean_D), ways)
