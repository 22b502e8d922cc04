"""Entropy levers on a batch of two rows and four tokens, by hand; their gradients; and that no cut can change them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from toys import episode, scored

from amend.batch import Batch, collate
from amend.errors import UserError
from amend.exploration.entropy import Bonus, ClipCov, Entropy, KLCov, NoEntropyTerm, covariance
from amend.ops.logprobs import TokenLogprobs

SAMPLED = torch.tensor([[False, True, True, True], [False, True, True, False]])
LOGP = torch.tensor([[7.0, -1.0, -3.0, -2.0], [7.0, -1.0, -3.0, 7.0]])  # 7: off the sampled tokens, and never read
CREDIT = torch.tensor([[99.0, 2.0, 2.0, 2.0], [99.0, -3.0, -3.0, 99.0]])
# Means -2 and 0, so deviations 1, -1, 0 | 1, -1 and 2, 2, 2 | -3, -3.
COV = torch.tensor([[0.0, 2.0, -2.0, 0.0], [0.0, -3.0, 3.0, 0.0]])


def batch_of(loss_mask: Tensor, logp: Tensor) -> Batch:
    """A batch of one turn, of which these tokens were sampled, each as likely as said; rows end at their last one."""
    whole = collate([scored(episode([((), [0] * len(row))]), (0,)) for row in loss_mask])
    inside = loss_mask.flip(1).cummax(1).values.flip(1)
    return replace(whole, loss_mask=loss_mask, old_logprobs=logp, turn=torch.where(inside, 0, -1))


def likelihood(logp: Tensor, entropy: Tensor) -> TokenLogprobs:
    """What a policy says of a batch, with no reference asked for."""
    nothing = torch.full_like(logp, torch.nan)
    return TokenLogprobs(logp, nothing, nothing, entropy)


BATCH = batch_of(SAMPLED, LOGP)
LEVERS: list[Entropy] = [
    NoEntropyTerm(),
    Bonus(coefficient=0.3),
    ClipCov(share=0.4, low=-2.5, high=2.5),
    KLCov(share=0.4, coefficient=0.7),
]


def test_covariance_by_hand() -> None:
    assert torch.equal(covariance(BATCH, CREDIT), COV)


def test_nothing_sampled_has_no_covariance_and_nothing_is_chosen() -> None:
    empty = batch_of(torch.zeros_like(SAMPLED), LOGP)
    assert covariance(empty, CREDIT).tolist() == [[0.0] * 4] * 2
    for lever in LEVERS:
        assert lever.choose(empty, CREDIT).tolist() == [[0.0] * 4] * 2


def test_the_covariance_tells_what_a_step_does_to_the_entropy() -> None:
    """Tokens drawn exactly as often as pi = (1/2, 1/4, 1/4) says: a natural gradient step eta A on the logits changes
    the entropy by -eta Cov(log pi, A), Cov being the mean over tokens."""
    chance = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    advantage, token, eta = torch.tensor([1.0, 0.0, -2.0], dtype=torch.float64), torch.tensor([[0, 0, 1, 2]]), 1e-6

    def entropy(logits: Tensor) -> Tensor:
        return torch.distributions.Categorical(logits=logits).entropy()

    change = (entropy(chance.log() + eta * advantage) - entropy(chance.log() - eta * advantage)) / (2 * eta)
    drawn = batch_of(torch.ones(1, 4, dtype=torch.bool), chance.log()[token])
    assert float(change) == pytest.approx(-float(covariance(drawn, advantage[token]).mean()), rel=1e-6)
    assert float(change) < 0  # what was likely was also good: the policy settles


def test_nothing_changes_nothing() -> None:
    loss = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    assert isinstance(NoEntropyTerm(), Entropy)
    assert torch.equal(
        NoEntropyTerm()(loss, NoEntropyTerm().choose(BATCH, CREDIT), BATCH, likelihood(LOGP, LOGP)), loss
    )


def test_the_bonus_by_hand() -> None:
    """Loss 1 everywhere, entropy 2 everywhere, coefficient 0.25: 0.5 at sampled tokens."""
    bonus = Bonus(coefficient=0.25)
    assert isinstance(bonus, Entropy)
    loss = bonus(torch.ones(2, 4), bonus.choose(BATCH, CREDIT), BATCH, likelihood(LOGP, torch.full((2, 4), 2.0)))
    assert loss.tolist() == [[1.0, 0.5, 0.5, 0.5], [1.0, 0.5, 0.5, 1.0]]


def test_the_bonus_has_the_entropys_gradient() -> None:
    """dH/dz_i = -p_i (log p_i + H), so the loss has c p_i (log p_i + H) at each sampled token and 0 elsewhere."""
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    rows = logits.log_softmax(-1)
    entropy = -(rows.exp() * rows).sum(-1)
    bonus = Bonus(coefficient=0.3)
    zero = torch.zeros(2, 4, dtype=torch.float64)
    bonus(zero, bonus.choose(BATCH, CREDIT), BATCH, likelihood(zero, entropy)).sum().backward()
    by_hand = 0.3 * rows.exp() * (rows + entropy[..., None]) * SAMPLED[..., None]
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, by_hand.detach())


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, []),
        (1e-6, [(0, 2)]),  # one: the middle of three candidates
        (0.2, [(0, 2)]),
        (0.4, [(0, 1), (0, 3)]),
        (1.0, [(0, 1), (0, 2), (0, 3)]),  # all there are
    ],
)
def test_clip_cov_takes_evenly_spaced_candidates(share: float, expected: list[tuple[int, int]]) -> None:
    """Covariances in [-2.5, 2.5]: 2, -2 and 0, all of row 1; the prompt's zeros are no candidates."""
    chosen = ClipCov(share=share, low=-2.5, high=2.5).choose(BATCH, CREDIT)
    assert [(int(i), int(t)) for i, t in chosen.nonzero()] == expected
    assert float(chosen.sum()) == len(expected)


def test_clip_covs_bounds_are_included_and_may_hold_nothing() -> None:
    assert ClipCov(share=1.0, low=2.0, high=3.0).choose(BATCH, CREDIT).nonzero().tolist() == [[0, 1], [1, 2]]
    assert ClipCov(share=1.0, low=4.0, high=5.0).choose(BATCH, CREDIT).sum() == 0
    with pytest.raises(UserError, match=r"entropy\.low=5\.0: above entropy\.high=1\.0"):
        ClipCov(share=1.0, low=5.0, high=1.0)


@given(st.integers(1, 40), st.floats(0.01, 1))
def test_clip_cov_takes_as_many_as_it_says(count: int, share: float) -> None:
    """All tokens are candidates: the share of them, none twice, no gap more than one longer than another."""
    batch = batch_of(torch.ones(1, count, dtype=torch.bool), -torch.ones(1, count))
    chosen = ClipCov(share=share, low=0.0, high=0.0).choose(batch, torch.ones(1, count))[0].nonzero()[:, 0]
    assert len(chosen) == min(max(round(share * count), 1), count)
    gaps = chosen.diff()
    assert len(gaps) == 0 or (int(gaps.min()) >= 1 and int(gaps.max() - gaps.min()) <= 1)


def test_clip_cov_keeps_the_value_and_takes_the_gradient() -> None:
    logp = LOGP.clone().requires_grad_()
    lever = ClipCov(share=0.4, low=-2.5, high=2.5)
    plain = -CREDIT * logp
    loss = lever(plain, lever.choose(BATCH, CREDIT), BATCH, likelihood(logp, LOGP))
    assert torch.equal(loss, plain)
    loss.sum().backward()
    assert logp.grad is not None
    assert logp.grad.tolist() == [[-99.0, 0.0, -2.0, 0.0], [-99.0, 3.0, 3.0, -99.0]]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, []),
        (1e-6, [(1, 2)]),
        (0.4, [(0, 1), (1, 2)]),
        (0.6, [(0, 1), (0, 3), (1, 2)]),
        (1.0, [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]),  # every sampled token, and no other
    ],
)
def test_kl_cov_takes_the_largest(share: float, expected: list[tuple[int, int]]) -> None:
    chosen = KLCov(share=share, coefficient=1.0).choose(BATCH, CREDIT)
    assert [(int(i), int(t)) for i, t in chosen.nonzero()] == expected
    assert float(chosen.sum()) == len(expected)


def test_of_equal_tokens_kl_cov_takes_the_first() -> None:
    assert KLCov(share=0.4, coefficient=1.0).choose(BATCH, torch.ones(2, 4)).nonzero().tolist() == [[0, 1], [0, 2]]


def test_kl_cov_adds_k2_and_its_gradient() -> None:
    """log pi half above the behaviour's everywhere, coefficient 2: 2 * 0.125 more, and a gradient of 2 * 0.5."""
    logp = (LOGP + 0.5).requires_grad_()
    lever = KLCov(share=0.4, coefficient=2.0)
    loss = lever(torch.ones(2, 4), lever.choose(BATCH, CREDIT), BATCH, likelihood(logp, LOGP))
    assert loss.tolist() == [[1.0, 1.25, 1.0, 1.0], [1.0, 1.0, 1.25, 1.0]]
    loss.sum().backward()
    assert logp.grad is not None
    assert logp.grad.tolist() == [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]


def test_kl_cov_is_nothing_while_the_policy_is_the_one_that_sampled() -> None:
    logp = LOGP.clone().requires_grad_()
    lever = KLCov(share=1.0, coefficient=2.0)
    lever(torch.zeros(2, 4), lever.choose(BATCH, CREDIT), BATCH, likelihood(logp, LOGP)).sum().backward()
    assert logp.grad is not None and logp.grad.abs().sum() == 0


@pytest.mark.parametrize("lever", LEVERS, ids=lambda lever: type(lever).__name__)
def test_the_gradient_does_not_depend_on_the_cut(lever: Entropy) -> None:
    """Both rows at once, or one at a time and each cut to its own length: the same gradient to the last bit."""
    chosen = lever.choose(BATCH, CREDIT)
    gradients = []
    for cut in ([[0, 1]], [[0], [1]]):
        logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
        for part in cut:
            rows = torch.tensor(part)
            micro = BATCH.rows(rows)
            t = micro.tokens.shape[1]
            likely = logits[rows, :t].log_softmax(-1)
            out = likelihood(likely[..., 0], -(likely.exp() * likely).sum(-1))
            plain = -torch.where(micro.loss_mask, CREDIT[rows, :t], 0.0) * out.logp
            changed = lever(plain, chosen[rows, :t], micro, out)
            (changed * micro.loss_mask).sum().backward()
        gradients.append(logits.grad)
    assert gradients[0] is not None and torch.equal(gradients[0], gradients[1])


@pytest.mark.parametrize("lever", LEVERS, ids=lambda lever: type(lever).__name__)
def test_padding_is_never_chosen_and_changes_no_choice(lever: Entropy) -> None:
    wide = batch_of(
        torch.cat([SAMPLED, torch.zeros(2, 3, dtype=torch.bool)], 1), torch.cat([LOGP, torch.zeros(2, 3)], 1)
    )
    chosen = lever.choose(wide, torch.cat([CREDIT, torch.zeros(2, 3)], 1))
    assert torch.equal(chosen[:, :4], lever.choose(BATCH, CREDIT)) and chosen[:, 4:].abs().sum() == 0
