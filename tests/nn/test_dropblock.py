"""DropBlock: its mask against nested loops, its rate against the paper's, its ramp and its randomness."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from l2l_core.errors import UsageError
from l2l_core.modules import clone_module
from l2l_core.nn.dropblock import DropBlock, kept


def at_full_rate(rate: float, block_size: int) -> DropBlock:
    layer = DropBlock(rate, block_size)
    layer.passes.fill_(layer.ramp)
    return layer


@pytest.mark.parametrize("block", [(1, 1), (2, 2), (3, 3), (5, 5), (4, 2), (7, 9)])
def test_the_mask_is_that_of_nested_loops(block: tuple[int, int]) -> None:
    torch.manual_seed(0)
    height, width = 7, 9
    rows, columns = height - block[0] + 1, width - block[1] + 1
    seeds = (torch.rand(3, 4, rows, columns) < 0.15).float()
    expected = np.ones((3, 4, height, width), dtype=np.float32)
    for example in range(3):
        for channel in range(4):
            for row in range(rows):
                for column in range(columns):
                    if seeds[example, channel, row, column]:
                        for down in range(block[0]):
                            for right in range(block[1]):
                                expected[example, channel, row + down, column + right] = 0
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(kept(seeds, block).numpy(), expected)


@pytest.mark.parametrize(("height", "width", "block_size"), [(10, 10, 5), (8, 12, 3), (5, 5, 5), (4, 4, 1)])
def test_blocks_are_drawn_as_densely_as_the_paper_has_it(height: int, width: int, block_size: int) -> None:
    torch.manual_seed(0)
    rate, examples = 0.1, 4000
    layer = at_full_rate(rate, block_size)
    maps = torch.rand(examples, 1, height, width) + 1
    dropped = layer(maps).eq(0)
    positions = (height - block_size + 1) * (width - block_size + 1)
    # Equation 1. Of blocks at that density a corner of the map is covered by one position only.
    gamma = rate / block_size**2 * height * width / positions
    deviation = (gamma * (1 - gamma) / examples) ** 0.5
    for corner in (dropped[:, 0, 0, 0], dropped[:, 0, -1, -1], dropped[:, 0, 0, -1]):
        assert corner.float().mean().item() == pytest.approx(gamma, abs=4 * deviation)


def test_what_is_left_is_scaled_over_the_batch() -> None:
    torch.manual_seed(0)
    layer = at_full_rate(0.3, 3)
    maps = torch.rand(6, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    found = layer(maps)
    mask = found != 0
    assert 0 < mask.double().mean() < 1
    assert mask.double().mean(dim=(1, 2, 3)).unique().numel() > 1  # the examples differ
    scale = mask.numel() / mask.sum().double()
    torch.testing.assert_close(found, maps * mask * scale, atol=1e-6, rtol=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), maps)
    torch.testing.assert_close(gradient, mask * scale, atol=1e-6, rtol=1e-6)


def test_eval_mode_and_a_rate_of_zero_change_nothing() -> None:
    maps = torch.rand(2, 3, 6, 6)
    layer = at_full_rate(0.5, 3).eval()
    before = torch.get_rng_state()
    assert layer(maps) is maps
    assert layer.passes == layer.ramp
    assert DropBlock(0.0)(maps) is maps
    assert torch.equal(torch.get_rng_state(), before)


def test_the_rate_grows_over_training_passes_only() -> None:
    torch.manual_seed(0)
    layer = DropBlock(0.5, block_size=1, ramp=4)
    maps = torch.ones(1, 1, 200, 200)
    rates = []
    for _ in range(6):
        rates.append(layer(maps).eq(0).float().mean().item())
        layer.eval()(maps)
        layer.train()
    assert rates == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.5], abs=0.01)
    assert layer.passes == 6


def test_the_count_is_the_models_own_through_clones_and_checkpoints() -> None:
    layer = DropBlock(0.5)
    maps = torch.ones(1, 1, 6, 6)
    for _ in range(3):
        clone_module(layer)(maps)
    assert layer.passes == 3
    again = DropBlock(0.5)
    again.load_state_dict(layer.state_dict())
    assert again.passes == 3
    whole = nn.Sequential(nn.Linear(2, 2), again)
    whole.load_state_dict(nn.Linear(2, 2).state_dict(prefix="0."))  # learn2learn's has no count
    assert again.passes == 3
    with pytest.raises(RuntimeError, match="rate"):
        again.load_state_dict({"rate": torch.zeros(())})


def test_torchs_seed_decides_and_the_memory_format_does_not() -> None:
    maps = torch.rand(4, 3, 10, 10) + 1

    def drawn(maps: torch.Tensor, seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return at_full_rate(0.3, 3)(maps)

    assert torch.equal(drawn(maps, 1), drawn(maps, 1))
    assert not torch.equal(drawn(maps, 1), drawn(maps, 2))
    last = drawn(maps.to(memory_format=torch.channels_last), 1)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, drawn(maps, 1))
    half = drawn(maps.bfloat16(), 1)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half.eq(0), drawn(maps, 1).eq(0))


@pytest.mark.parametrize("shape", [(4, 4), (2, 7), (1, 1)])
def test_a_block_covers_what_there_is_of_a_small_map(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    dropped = at_full_rate(0.4, 5)(torch.ones(3000, 1, *shape)).eq(0)
    assert dropped[:, 0, 0, 0].float().mean().item() > 0.05
    if max(shape) <= 5:  # one position: all or nothing, at the rate itself
        assert torch.equal(dropped.flatten(1).all(dim=1), dropped.flatten(1).any(dim=1))
        assert dropped.float().mean().item() == pytest.approx(0.4, abs=0.03)


def test_a_mask_that_drops_everything_gives_zeros() -> None:
    assert torch.equal(at_full_rate(1.0, 5)(torch.ones(2, 3, 5, 5)), torch.zeros(2, 3, 5, 5))


def test_tasks_under_vmap_draw_their_own() -> None:
    torch.manual_seed(0)
    layer = at_full_rate(0.3, 3)
    maps = torch.ones(5, 4, 2, 8, 8)
    found = torch.vmap(layer, randomness="different")(maps)
    masks = found.ne(0).flatten(1)
    assert len({tuple(mask.tolist()) for mask in masks}) == 5
    torch.testing.assert_close(found.flatten(1).sum(dim=1), torch.full((5,), 4 * 2 * 64.0))  # scaled by task
    same = torch.vmap(layer, randomness="same")(maps)
    assert torch.equal(same[0], same[4])


def test_it_copies_and_pickles() -> None:
    layer = at_full_rate(0.3, 3)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(copied) == "DropBlock(rate=0.3, block_size=3, ramp=40000)"
        assert copied.passes == layer.ramp
        copied(torch.ones(1, 1, 4, 4))
    assert layer.passes == layer.ramp


@pytest.mark.parametrize(("rate", "block_size", "ramp"), [(1.5, 5, 40), (-0.1, 5, 40), (0.1, 0, 40), (0.1, 5, 0)])
def test_impossible_settings_are_refused(rate: float, block_size: int, ramp: int) -> None:
    with pytest.raises(UsageError) as error:
        DropBlock(rate, block_size, ramp)
    assert str(error.value) == (
        f"DropBlock was asked for rate = {rate}, block_size = {block_size} and ramp = {ramp}; give a rate in [0, 1] "
        "and at least 1 of the others"
    )
