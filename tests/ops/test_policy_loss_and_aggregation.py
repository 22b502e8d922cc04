"""Surrogates and reductions by hand, and what an update measures."""

import math

import torch

from amend.ops import aggregation, policy_loss
from amend.ops.logprobs import TokenLogprobs, logprob_metrics

SAMPLED = torch.tensor([[False, True, True, True], [False, True, False, False]])


def test_reinforce_by_hand() -> None:
    assert policy_loss.reinforce_loss(torch.tensor([[-2.0, -1.0]]), torch.tensor([[3.0, -1.0]])).tolist() == [
        [6.0, -1.0]
    ]


def test_clipped_by_hand() -> None:
    """Ratios 2, 2, 1/2, 1/2 under credit +1, -1, +1, -1, clipped to [0.8, 1.3]."""
    logp = torch.log(torch.tensor([[2.0, 2.0, 0.5, 0.5]]))
    loss = policy_loss.ppo_clip_loss(logp, torch.zeros(1, 4), torch.tensor([[1.0, -1.0, 1.0, -1.0]]), 0.2, 0.3)
    assert torch.allclose(loss, torch.tensor([[-1.3, 2.0, -0.5, 0.8]]))


def test_clipping_stops_the_gradient_only_where_it_binds() -> None:
    logp = torch.log(torch.tensor([[2.0, 2.0, 0.5, 0.5]])).requires_grad_()
    policy_loss.ppo_clip_loss(
        logp, torch.zeros(1, 4), torch.tensor([[1.0, -1.0, 1.0, -1.0]]), 0.2, 0.3
    ).sum().backward()
    assert torch.allclose(logp.grad, torch.tensor([[0.0, 2.0, -0.5, 0.0]]))


def test_on_policy_the_clipped_gradient_is_reinforces() -> None:
    logp = torch.tensor([[-1.0, -3.0]]).requires_grad_()
    policy_loss.ppo_clip_loss(logp, logp, torch.tensor([[2.0, -1.0]]), 0.2, 0.2).sum().backward()
    assert torch.allclose(logp.grad, torch.tensor([[-2.0, 1.0]]))


def test_a_weight_is_the_ratio_up_to_the_cap_and_has_no_gradient() -> None:
    trainer = torch.log(torch.tensor([[0.2, 0.6, 0.9, 1.0]])).requires_grad_()
    engine = torch.log(torch.tensor([[0.4, 0.3, 0.1, 1.0]]))
    weight = policy_loss.truncated_importance_weight(trainer, engine, 2.5)
    assert torch.allclose(weight, torch.tensor([[0.5, 2.0, 2.5, 1.0]]))
    assert not weight.requires_grad
    assert (
        policy_loss.truncated_importance_weight(torch.zeros(1, 1), torch.full((1, 1), -1e4), 2.0).item() == 2.0
    )  # no infinity


def test_weights_by_hand() -> None:
    assert aggregation.seq_mean_token_sum(SAMPLED).tolist() == [[0.0, 0.5, 0.5, 0.5], [0.0, 0.5, 0.0, 0.0]]
    assert torch.allclose(
        aggregation.seq_mean_token_mean(SAMPLED), torch.tensor([[0.0, 1 / 6, 1 / 6, 1 / 6], [0.0, 0.5, 0.0, 0.0]])
    )
    assert aggregation.token_mean(SAMPLED).tolist() == [[0.0, 0.25, 0.25, 0.25], [0.0, 0.25, 0.0, 0.0]]
    assert torch.allclose(aggregation.seq_mean_token_sum_norm(SAMPLED, 5), SAMPLED.float() / 10)


def test_a_row_without_sampled_tokens_weighs_nothing() -> None:
    empty = torch.zeros(2, 3, dtype=torch.bool)
    for weights in (
        aggregation.seq_mean_token_sum(empty),
        aggregation.seq_mean_token_mean(empty),
        aggregation.token_mean(empty),
        aggregation.seq_mean_token_sum_norm(empty, 2),
    ):
        assert weights.abs().sum() == 0
        assert math.isfinite(float(weights.sum()))


TURN = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 1]])
DRAWN = torch.tensor([[False, True, True, True], [False, True, False, True]])


def whole(move: torch.Tensor, credit: torch.Tensor) -> torch.Tensor:
    return policy_loss.sequence_clip_loss(move, torch.zeros(2, 4), credit, TURN, DRAWN, 0.2, 0.3)


def test_whole_by_hand() -> None:
    """Ratios of a turn: 2 x 3 = 6 over two tokens and 1/2; then 1/2 and 2. Clipped to [0.8, 1.3] where it binds; the
    turn's loss in equal shares. What stands at a token that was not drawn is no factor."""
    ratio = torch.tensor([[9.0, 2.0, 3.0, 0.5], [9.0, 0.5, 9.0, 2.0]])
    credit = torch.tensor([[0.0, 1.0, 1.0, -1.0], [0.0, -1.0, 0.0, -1.0]])
    loss = whole(ratio.log(), credit)
    assert torch.allclose(loss, torch.tensor([[0.0, -0.65, -0.65, 0.8], [0.0, 0.8, 0.0, 2.0]]))


def test_the_gradient_of_whole_is_the_turns_at_each_of_its_tokens() -> None:
    """Ratio 2 x 1/2 = 1 in turn 1, clipped in turn 2 of the first episode; 1.5 under a negative credit in the second's
    turn 1, never clipped; 1 in its turn 2."""
    ratio = torch.tensor([[1.0, 2.0, 0.5, 2.0], [1.0, 1.5, 1.0, 1.0]])
    move = ratio.log().requires_grad_()
    whole(move, torch.tensor([[0.0, 3.0, 3.0, 1.0], [0.0, -2.0, 0.0, 4.0]])).sum().backward()
    assert torch.allclose(move.grad, torch.tensor([[0.0, -3.0, -3.0, 0.0], [0.0, 3.0, 0.0, -4.0]]))


def test_whole_of_one_token_turns_is_clipped() -> None:
    move, credit = torch.tensor([[0.0, 0.4, 0.0, -0.6]]), torch.tensor([[0.0, 1.0, 0.0, -1.0]])
    loss_mask = torch.tensor([[False, True, False, True]])
    one = policy_loss.sequence_clip_loss(move, torch.zeros(1, 4), credit, TURN[:1], loss_mask, 0.2, 0.3)
    assert torch.equal(
        one, torch.where(loss_mask, policy_loss.ppo_clip_loss(move, torch.zeros(1, 4), credit, 0.2, 0.3), 0.0)
    )


def test_no_surrogate_pulls_on_the_policy_that_sampled() -> None:
    """The behaviour's log-probabilities are what was: no gradient flows into them."""
    behaviour = torch.zeros(2, 4, requires_grad=True)
    logp, credit = torch.full((2, 4), 0.1, requires_grad=True), torch.ones(2, 4)
    loss = policy_loss.sequence_clip_loss(logp, behaviour, credit, TURN, DRAWN, 0.2, 0.3)
    loss = loss + policy_loss.ppo_clip_loss(logp, behaviour, credit, 0.2, 0.3)
    loss.sum().backward()
    assert behaviour.grad is None and logp.grad is not None


def test_what_an_update_measures() -> None:
    """Sums over drawn tokens: three entropies of 2; gaps of 0.5; the KL of turn 1 and of turn 2 apart."""
    full = torch.full((1, 4), 2.0)
    kl = torch.tensor([[9.0, 1.0, 2.0, 4.0]])
    out = TokenLogprobs(logp=full - 2.5, ref_logp=full, kl=kl, entropy=full)
    found = logprob_metrics(out, DRAWN[:1], TURN[:1], torch.zeros(1, 4))
    assert found == {"entropy": 6.0, "sampling/logp_difference": 1.5, "kl_t1": 3.0, "kl_t2": 4.0}
    unread = out._replace(kl=torch.full((1, 4), torch.nan))
    assert logprob_metrics(unread, DRAWN[:1], TURN[:1], torch.zeros(1, 4)) == {
        "entropy": 6.0,
        "sampling/logp_difference": 1.5,
    }
