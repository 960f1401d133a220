"""Grids as patches and back."""

from __future__ import annotations

import pytest
import torch

from langevin.modalities.patches import PatchTokens


@pytest.mark.parametrize("patch", [2, (2, 2), (4, 2), (1, 6)])
def test_patches_come_back_as_they_were(patch: int | tuple[int, int]) -> None:
    x = torch.randn(3, 2, 8, 12)
    tokens = PatchTokens(2, patch)
    found = tokens.tokens(x)
    p, q = tokens.sides
    assert (
        found.values[""].shape == (3, 8 // p * 12 // q, 2 * p * q) == (3, 8 // p * 12 // q, tokens.inputs[""])
    )
    assert torch.equal(tokens.untokens(found.values, x), x)


def test_a_patch_holds_its_rows_and_columns_and_knows_its_place() -> None:
    x = torch.arange(4 * 6, dtype=torch.float32).reshape(1, 1, 4, 6)
    found = PatchTokens(1, (2, 3)).tokens(x)
    assert found.values[""][0, 1].tolist() == [3, 4, 5, 9, 10, 11]
    assert found.positions[0].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_sides_that_patches_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="patches of 4 x 3 need 1 channels"):
        PatchTokens(1, (4, 3)).tokens(torch.zeros(1, 1, 8, 8))
