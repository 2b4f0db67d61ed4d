# %% [markdown]
# # 5. Your own algorithm
#
# Few-shot methods come in two families. One embeds the examples and puts a simple classifier on the embeddings
# (ProtoNets). The other adapts a net to each task by gradient steps (MAML). For each there is a base class that does
# what all of its kind have in common; you write what is special. And if your idea fits neither, there are tools for
# plain torch modules.
#
# The budgets are tiny, so that this runs in some ten seconds on one core without a network; expect poor figures.

# %%
import os
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.nn import functional

import l2l_core as l2l
from l2l_core.algorithms import METHODS, GradientLearner, MethodSpec, MetricLearner, TrainingSettings
from l2l_core.algorithms.normalisation import without_normalisation
from l2l_core.nn import Conv4, ConvClassifier, maml_init_, prototypes, squared_distances

# A folder of our own, gone at the end. Where you have named a cache yourself, that one serves.
scratch = TemporaryDirectory(prefix="l2l-tutorial-")
os.environ.setdefault("L2L_HOME", scratch.name)

benchmark = l2l.load_benchmark("glyphs-5w1s")

# %% [markdown]
# ## A classifier on embeddings: `MetricLearner`
#
# A ProtoNet takes every dimension of its embedding as equally important. Ours learns a weight for each. All there is to
# write is `fit`: given the embeddings of the support sets of B tasks, [B, M, D], it gives a function from query
# embeddings to logits [B, Q, N]. Letters at the end of a name say which axes a tensor has.


# %%
class WeightedNet(MetricLearner):
    """A prototypical network whose distance has a learned weight for each dimension."""

    def __init__(self, backbone, width):
        super().__init__(backbone)
        self.log_weights_D = nn.Parameter(torch.zeros(width))  # all weights 1: at first it is a ProtoNet

    def fit(self, support_BMD, support_y, ways):
        stretch_D = (self.log_weights_D / 2).exp()
        centres_BND = prototypes(support_BMD * stretch_D, support_y, ways)
        return lambda query_BQD: -squared_distances(query_BQD * stretch_D, centres_BND)


# %% [markdown]
# With an entry in `METHODS` it has a name: what builds it for a setting (ways, shots, size of the pictures), and how it
# is trained where nobody says otherwise. From then on it is trained and evaluated as every other method.

# %%
METHODS["weighted"] = MethodSpec(
    "prototypes, with a weight for each dimension",
    build=lambda setting: WeightedNet(Conv4(setting.image[0]), width=64),
    training=lambda setting: TrainingSettings(10, setting.shots, 5, meta_batch=1, learning_rate=1e-3),
)
learner, run = l2l.training.train(benchmark, "weighted", episodes=20, settings={"validation_episodes": 10})
weighted = l2l.evaluate(benchmark, learner, episodes=100, method="weighted")
print(weighted)
weights = learner.log_weights_D.exp()
print(f"weights from {weights.min():.3f} to {weights.max():.3f}")

# %% [markdown]
# Is it better than a ProtoNet of the same budget? Same episodes, pair by pair:

# %%
same = {"train_ways": 10, "validation_episodes": 10}
protonet, _ = l2l.training.train(benchmark, "protonet", episodes=20, settings=same)
difference = l2l.evaluation.paired(l2l.evaluate(benchmark, protonet, episodes=100, method="protonet"), weighted)
print(f"weighted minus protonet: {100 * difference.difference:+.2f} ± {100 * difference.ci95:.2f} points")
print("beyond noise:", difference.beyond_noise)

# %% [markdown]
# ## Gradient steps: `GradientLearner`
#
# The inner loop is written once, for all of MAML's kin. A method says which parameters move and by which rule. Ours
# steps by the *sign* of the gradient, as sign-SGD does: every parameter moves by the same amount. The sign has no
# useful derivative, so inner gradients are taken as constants (`first_order`).


# %%
class SignMAML(GradientLearner):
    """First-order MAML whose inner steps are of one length in every parameter."""

    def __init__(self, model, lr, steps):
        super().__init__(model, without_normalisation(model), steps, first_order=True)
        self.lr = lr

    def rule(self):
        def step(params, gradients, state):
            return {name: value - self.lr * gradients[name].sign() for name, value in params.items()}, state

        return step, None  # the rule, and the state before its first step, of which it has none


METHODS["sign-maml"] = MethodSpec(
    "MAML by the sign of the gradient",
    build=lambda setting: SignMAML(
        maml_init_(ConvClassifier(Conv4(setting.image[0], downsample="stride", running_stats=False), setting.ways)),
        lr=0.01,
        steps=3,
    ),
    training=lambda setting: TrainingSettings(setting.ways, setting.shots, 5, meta_batch=4, learning_rate=1e-3),
)
sign_maml, run = l2l.training.train(benchmark, "sign-maml", episodes=8, settings={"validation_episodes": 10})
print(l2l.evaluate(benchmark, sign_maml, episodes=50, method="sign-maml"))

# %% [markdown]
# What does adapting do? `adapt` gives a predictor for a batch of tasks, and leaves the learner as it was.

# %%
episodes = l2l.TaskGenerator(benchmark.dataset("test"), 5, 1, 15, seed=0).batch(range(8))
sign_maml.eval()
for steps in (0, 1, 3, 10):
    sign_maml.test_steps = steps
    predict = sign_maml.adapt(episodes.support_x, episodes.support_y)
    found = predict(episodes.query_x).argmax(dim=-1)
    print(f"{steps:2} steps: {100 * (found == episodes.query_y).double().mean():.1f} %")

# %% [markdown]
# A mistake is named before it costs you a day:

# %%
try:
    sign_maml.adapt(episodes.support_x[0], episodes.support_y[0])
except l2l.errors.UsageError as error:
    print("UsageError:", error)

# %% [markdown]
# ## Neither: plain torch modules
#
# `clone_module` copies any module such that gradients flow back into the original, and `update_module` adds to its
# parameters differentiably. With these two an inner loop is a few lines that hide nothing. This is MAML by hand, of
# second order, on a net of yours:

# %%
torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 32), nn.ReLU(), nn.Linear(32, 5))
optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
tasks = l2l.TaskGenerator(benchmark.dataset("train"), ways=5, shots=1, queries=5, seed=0)
others = l2l.TaskGenerator(benchmark.dataset("validation"), ways=5, shots=1, queries=15, seed=0, num_tasks=50)


def query_loss(task, steps=1, rate=0.5):
    """The loss and the accuracy on a task's queries, after some steps on its support."""
    adapted = l2l.clone_module(net)
    for _ in range(steps):
        loss = functional.cross_entropy(adapted(task.support_x), task.support_y)
        gradients = torch.autograd.grad(loss, tuple(adapted.parameters()), create_graph=True)
        adapted = l2l.update_module(adapted, updates=[-rate * gradient for gradient in gradients])
    logits = adapted(task.query_x)
    return functional.cross_entropy(logits, task.query_y), l2l.accuracy(logits, task.query_y)


for step in range(201):
    if step % 100 == 0:
        accuracies = torch.stack([query_loss(task)[1] for task in others])
        print(f"step {step:3}: accuracy on new classes {100 * accuracies.mean():.1f} %")
    batch = [query_loss(tasks[number])[0] for number in range(4 * step, 4 * step + 4)]
    optimiser.zero_grad()
    torch.stack(batch).mean().backward()  # through the inner step, into the parameters of net
    optimiser.step()

# %% [markdown]
# To have it evaluated as the others are, put it into a `Learner`, whose `adapt` gives a function from queries to
# logits: its docstring is the whole contract. To make a method part of the package, it takes one file, one entry in
# `METHODS`, and one test; see "Adding an algorithm" in the README.

# %%
scratch.cleanup()
