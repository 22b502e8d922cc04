"""PPO by hand: what each token is paid, GAE over two turns, both clipped losses, and where the critic is read."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import pytest
import torch
from scripted import ready
from toys import LOOP, drift, episode, handed, policy, scored

from amend.algo.ppo import PPO
from amend.batch import Batch, collate
from amend.errors import UserError
from amend.ops.logprobs import TokenLogprobs
from amend.types import Scored

KNOBS: dict[str, Any] = {
    "gamma": 0.5, "gae_lambda": 0.5, "kl_coef": 0.0, "clip_ratio_low": 0.2, "clip_ratio_high": 0.3, "vf_coef": 0.1,
    "clip_range_vf": 0.2,
    "normalize_advantage": False,
}  # fmt: skip


def learner(bias: float = 0.0, max_tokens_per_micro_batch: int = 4096, **knobs: Any) -> PPO:
    """A learner whose critic says ``bias`` everywhere."""
    made = PPO(
        *handed(drift(policy(max_tokens_per_micro_batch=max_tokens_per_micro_batch))), **{**LOOP, **KNOBS, **knobs}
    )
    torch.nn.init.constant_(made.value.bias, bias)
    return made


def three_tokens() -> Batch:
    """One episode of two turns: ask, draw, draw, ask, draw. It is paid 1 and 2."""
    return collate([scored(episode([([2], [5, 6]), ([2], [4])]), (1.0, 2.0))])


def two_by_four() -> Batch:
    """Three drawn tokens and right, one drawn token and wrong."""
    right, wrong = episode([([2], [5, 6, 4])]), episode([([2], [4])], sample=1)
    return collate([scored(right, (1.0,)), scored(wrong, (0.0,))])


def likelihood(batch: Batch, move: float) -> TokenLogprobs:
    """The sampler's log-probabilities moved, and hidden states of nothing, so that a critic says its bias."""
    nothing = torch.full_like(batch.old_logprobs, torch.nan)
    hidden = torch.zeros(int(batch.loss_mask.sum()), 16)
    return TokenLogprobs(
        batch.old_logprobs + torch.where(batch.loss_mask, move, 0.0), nothing, nothing, nothing, hidden
    )


def test_pay_falls_due_at_the_ends_of_turns() -> None:
    assert learner().pay(two_by_four()).tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    assert learner().pay(three_tokens()).tolist() == [[0, 0, 1, 0, 2]]


def test_pay_on_the_way_leaves_the_rest_for_the_end() -> None:
    """Turn 1's reward of 1 was paid -2 at its first token; turn 2's 2 was paid 0.5 at its only one."""
    one = episode([([2], [5, 6]), ([2], [4])])
    batch = collate([Scored(one, (1.0, 2.0), {}, token_rewards=(-2.0, 0.0, 0.5))])
    assert learner().pay(batch).tolist() == [[0, -2, 3, 0, 2]]


def test_pay_less_the_kl() -> None:
    """log pi - log pi_ref is 1, 2 and -2, of which a half is taken off."""
    batch = replace(three_tokens(), ref_logp=torch.tensor([[0.0, -2.0, -3.0, 0.0, 1.0]]))
    assert learner(kl_coef=0.5).pay(batch).tolist() == [[0, -0.5, 0, 0, 3]]


def test_advantage_and_target() -> None:
    """V = 1/2, gamma = lambda = 1/2, paid 0, 1 and 2:

    delta_3 = 2 - 0.5 = 1.5                   A_3 = 1.5                            target 2
    delta_2 = 1 + 0.25 - 0.5 = 0.75           A_2 = 0.75 + 1.5 / 4 = 1.125         target 1.625
    delta_1 = 0 + 0.25 - 0.5 = -0.25          A_1 = -0.25 + 1.125 / 4 = 0.03125    target 0.53125
    """
    made = learner(bias=0.5)
    batch = made.prepare(three_tokens())
    assert batch.extras["values"].tolist() == [[0, 0.5, 0.5, 0, 0.5]]
    assert batch.extras["value_targets"].tolist() == [[0, 0.53125, 1.625, 0, 2]]
    assert made.advantages(batch).tolist() == [[0, 0.03125, 1.125, 0, 1.5]]


def test_whitened_advantage() -> None:
    """gamma = 1, lambda = 0, V = 0: the advantages are the pay, 0, 1 and 2; mean 1, deviation 1."""
    made = learner(normalize_advantage=True, gamma=1.0, gae_lambda=0.0)
    advantages = made.advantages(made.prepare(three_tokens()))
    assert torch.allclose(advantages, torch.tensor([[0.0, -1.0, 0.0, 0.0, 1.0]]))


@pytest.mark.parametrize(
    ("move", "policy_loss"),
    [(0.0, (-1.0, -1.0, 3.0)), (log(2.0), (-1.3, -1.3, 6.0)), (-log(2.0), (-0.5, -0.5, 2.4))],
)
def test_the_policys_loss(move: float, policy_loss: tuple[float, float, float]) -> None:
    """Credit 1, 1 and -3 at ratios 1, 2 and 1/2, clipped to [0.8, 1.3] where it binds."""
    made = learner(vf_coef=0.0)
    batch = made.prepare(three_tokens())
    loss = made.loss(batch, torch.tensor([[0.0, 1.0, 1.0, 0.0, -3.0]]), likelihood(batch, move))
    assert torch.allclose(loss[batch.loss_mask], torch.tensor(policy_loss))


def test_the_critics_loss() -> None:
    """V was 1/2 and is 1, of which 0.7 is near. Targets 0.53125, 1.625 and 2, the larger square of each:

    (1 - 0.53125)^2 = 0.2197265625 over 0.168...^2;  (0.7 - 1.625)^2 = 0.855625 over 0.625^2;  (0.7 - 2)^2 = 1.69 over 1
    """
    made = learner(bias=0.5)
    batch = made.prepare(three_tokens())
    torch.nn.init.constant_(made.value.bias, 1.0)
    loss = made.loss(batch, torch.zeros_like(batch.old_logprobs), likelihood(batch, 0.0))
    assert torch.allclose(loss, 0.05 * torch.tensor([[0.0, 0.2197265625, 0.855625, 0.0, 1.69]]))


def test_the_critics_gradient() -> None:
    """Only where the unclipped square is the larger one does it move: 0.1 / 2 x 2 (1 - 0.53125)."""
    made = learner(bias=0.5)
    batch = made.prepare(three_tokens())
    torch.nn.init.constant_(made.value.bias, 1.0)
    made.loss(batch, torch.zeros_like(batch.old_logprobs), likelihood(batch, 0.0)).sum().backward()
    assert torch.allclose(made.value.bias.grad, torch.tensor([0.046875]))


def test_weights() -> None:
    assert learner().token_weights(two_by_four()).tolist() == [[0, 0.25, 0.25, 0.25], [0, 0.25, 0, 0]]


def test_nothing_is_expected_at_first() -> None:
    made = learner()
    assert made.prepare(two_by_four()).extras["values"].abs().max() == 0


def test_a_value_belongs_to_what_its_token_was_predicted_from() -> None:
    """Not to the token itself: another last token has the same value, another first one changes all that follow."""
    made = learner()
    torch.nn.init.normal_(made.value.weight)

    def values(reply: list[int]) -> torch.Tensor:
        return made.prepare(collate([scored(episode([([2], reply)]), (1.0,))])).extras["values"][0]

    assert torch.equal(values([5, 6, 4]), values([5, 6, 6]))
    assert bool((values([5, 6, 4])[2:] != values([6, 6, 4])[2:]).all())
    assert values([5, 6, 4])[1] == values([6, 6, 4])[1]


def test_values_do_not_depend_on_the_micro_batch() -> None:
    found = []
    for max_tokens_per_micro_batch in (4096, 1):
        made = learner(max_tokens_per_micro_batch=max_tokens_per_micro_batch)
        torch.nn.init.constant_(made.value.weight, 0.1)
        found.append(made.prepare(two_by_four()).extras["values"])
    assert torch.allclose(found[0], found[1]) and found[0][0, 1:].abs().min() > 0
    assert found[0][1, 2:].abs().max() == 0


def test_the_critics_loss_shapes_the_policys_layers() -> None:
    """With no credit at all, what is left of the gradient is the critic's."""
    made = ready(learner())
    torch.nn.init.constant_(made.value.weight, 0.1)
    batch = made.prepare(two_by_four())
    made.accumulate(batch, torch.zeros_like(batch.old_logprobs))
    layer = next(w for name, w in made.policy.lm.named_parameters() if name.endswith("down_proj.weight"))
    assert float(layer.grad.abs().max()) > 0


def test_the_kl_is_read_from_the_reference_before_the_updates() -> None:
    made = learner(kl_coef=0.05)
    assert made.reward_uses_reference() and not made.loss_uses_reference() and not learner().reward_uses_reference()
    batch = made.prepare(three_tokens())
    expected = made.policy.reference_logprobs(batch.tokens, batch.loss_mask, batch.temperature)
    assert torch.equal(batch.ref_logp, expected)


def test_the_reference_is_read_once_and_the_policy_not_at_all_for_it() -> None:
    """PPO with a KL in its reward needs two forward passes before its updates: one of each model."""
    made = learner(kl_coef=0.05)
    passes: list[str] = []
    for name, lm in (("policy", made.policy.lm), ("reference", made.policy.reference_lm)):
        assert lm is not None
        lm.base_model.register_forward_hook(lambda *_, name=name: passes.append(name))
    made.prepare(three_tokens())
    assert sorted(passes) == ["policy", "reference"]


def test_a_model_that_hides_its_states_is_refused() -> None:
    made, batch = learner(), two_by_four()
    with pytest.raises(UserError, match="algo=ppo"):
        made.values(batch, likelihood(batch, 0.0)._replace(hidden=None))
