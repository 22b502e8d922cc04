"""Where an expected gradient is not the true one by design: by how much, and why.

Each law is written down and differentiated, or, where it is no objective's gradient, is what each token's log pi is
pulled with; the enumeration of ``enumerated`` has to find exactly that. Then it is said how far that is from the truth.

    group mean         an episode is part of what it is held against: (n - 1) / n of the truth
    deviation          a group that differs is divided by how much it does
    1 / |o|            a reply's tokens share its pay: what is right is pulled to be short, what is wrong to be long
    k3                 pulls as KL(pi_ref || pi) does
    clipping           no pull where pi already is far from who sampled
    ratio              none undoes that later tokens and turns follow what another policy said
    lambda < 1         what is far off counts less, unless the critic knows of it
    whitening          an advantage is part of the mean and the deviation that it is measured by
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from enumerated import Gradient, World, close, even, expected, ragged, short, token_rewards
from torch import Tensor
from toys import GRPO as GRPO_KNOBS
from toys import LOOP, handed

from amend.algo.grpo import GRPO
from amend.algo.ppo import PPO
from amend.algo.rloo import RLOO
from amend.ops.advantages import EPS

PPO_KNOBS = {
    "gamma": 1.0, "gae_lambda": 0.0, "kl_coef": 0.0, "clip_ratio_low": 0.2, "clip_ratio_high": 0.2, "vf_coef": 0.0,
    "clip_range_vf": 0.2,
    "normalize_advantage": False,
}  # fmt: skip
WIDE = 1e9  # a clip that never binds
LONGEST = 3  # algo.max_tokens of the constant reduction


def grpo(world: World, **knobs: Any) -> GRPO:
    loop = {**LOOP, "max_tokens": LONGEST, "optimizer_steps": knobs.pop("updates", 1)}
    return GRPO(*handed(world.policy), **{**loop, **GRPO_KNOBS, "kl_coef": 0.0, "scale_rewards": False, **knobs})


def ppo(world: World, **knobs: Any) -> PPO:
    return PPO(*handed(world.policy), **{**LOOP, **PPO_KNOBS, **knobs})


def truth(world: World) -> Gradient:
    """Each turn paid its own reward: what all of these learners would climb."""
    return world.pull(world.spread(world.correct))


def mean(world: World) -> Tensor:
    """The share of right answers of each turn, [2]."""
    return (world.chance[:, None] * world.correct).sum(0)


# GRPO's credit -------------------------------------------------------------------------------------------------------


def test_a_groups_mean_leaves_half() -> None:
    """Of n = 2 samples (n - 1) / n; and the mean over an episode's two tokens makes it a half of that."""
    assert close(expected(grpo(short()), short()), truth(short()), 1 / 2 / 2)


def test_a_groups_deviation() -> None:
    """Two samples that differ have deviation sqrt(1/2), so 1/2 becomes 1/2 / (sqrt(1/2) + 1e-4): longer still, in the
    same direction."""
    got = expected(grpo(short(), scale_rewards=True), short())
    assert close(got, truth(short()), 0.5 / (0.5**0.5 + EPS) / 2)


# GRPO's weights ------------------------------------------------------------------------------------------------------


def test_a_fixed_length_has_no_length_bias() -> None:
    """Dr. GRPO: (n - 1) / n of the truth over that length, however long the replies are."""
    assert close(
        expected(grpo(ragged(), loss_agg_mode="seq_mean_token_sum_norm"), ragged()), truth(ragged()), 1 / 2 / LONGEST
    )


def test_the_length_bias_of_a_mean_over_each_episode() -> None:
    """GRPO: an episode's credit, r - mean, is divided by its own length."""
    world = ragged()
    law = world.pull(world.spread((world.correct - mean(world)) / 2 / world.length[:, None]))
    assert close(expected(grpo(world, loss_agg_mode="seq_mean_token_mean"), world), law)
    assert token_rewards(law, truth(world))[0] < 0.999
    assert shortens(world, law) > shortens(world, truth(world)) + 0.01


def test_the_length_bias_of_a_mean_over_all_tokens() -> None:
    """DAPO: it is divided by the lengths of both: less of a bias, and not none."""
    world = ragged()
    differ = (world.correct[:, None] - world.correct[None]) / 2
    both = world.length[:, None] + world.length[None]
    law = world.pull(world.spread(2 * (world.chance[None, :, None] * differ / both[..., None]).sum(1)))
    assert close(expected(grpo(world, loss_agg_mode="token_mean"), world), law)
    by_episode = expected(grpo(world, loss_agg_mode="seq_mean_token_mean"), world)
    assert token_rewards(by_episode, truth(world))[0] < token_rewards(law, truth(world))[0] < 0.9999


def shortens(world: World, gradient: Gradient) -> float:
    """How fast a step along it makes the first reply shorter, as a share of the fastest that a step can."""
    shorter = world.pull(world.spread(torch.stack([-world.length.double(), torch.zeros(len(world.chance))], dim=1)))
    return token_rewards(gradient, shorter)[0]


# GRPO's KL -----------------------------------------------------------------------------------------------------------


def test_k3_pulls_as_the_kl_the_other_way_round() -> None:
    """At each token, given what is before it: KL(pi_ref || pi), which here is 3 degrees beside the KL that is meant."""
    world, beta = ragged(), 0.5
    rows, ref = world.rows(), world.rows(reference=True).detach()
    seen = world.chance[:, None] * world.batch.loss_mask

    def held(kl: Tensor) -> Gradient:
        return world.descent(-(seen * kl.sum(-1)).sum())

    theirs, ours = held(ref.exp() * (ref - rows)), held(rows.exp() * (rows - ref))
    got = expected(grpo(world, loss_agg_mode="seq_mean_token_sum_norm", kl_coef=beta), world)
    law = [(t / 2 + beta * k) / LONGEST for t, k in zip(truth(world), theirs, strict=True)]
    assert close(got, law)
    assert token_rewards(theirs, ours)[0] == pytest.approx(0.9987, abs=2e-4)


# clipping ------------------------------------------------------------------------------------------------------------


def clipped(world: World, ratio: Tensor, better: Tensor, worse: Tensor, low: float, high: float) -> Gradient:
    """-grad sum_e mu(e) sum [better min(rho, 1 + high) - worse max(rho, 1 - low)]: how much credit above nothing is to
    be expected, and how much below, in the shape of ``ratio``."""
    gain = better * ratio.clamp(max=1 + high) - worse * ratio.clamp(min=1 - low)
    return world.descent((world.chance[:, None] * gain).sum())


def off_policy(world: World) -> tuple[Tensor, Tensor, Tensor]:
    """rho of each reply, and its chance of a better and of a worse other one, if right and if wrong, [e 2] each."""
    ratio = world.turns(world.logp() - world.batch.old_logprobs).exp()
    return ratio, world.correct * (1 - mean(world)), (1 - world.correct) * mean(world)


CLIPS = [(0.2, 0.2), (0.1, 0.4), (1.0, WIDE)]


@pytest.mark.parametrize(("low", "high"), CLIPS)
def test_grpo_off_policy(low: float, high: float) -> None:
    """Half the difference to the other sample, as far as no ratio is clipped."""
    world = short(older=True)
    ratio, better, worse = off_policy(world)
    got = expected(grpo(world, clip_ratio_low=low, clip_ratio_high=high, num_minibatches=2), world)
    assert close(got, clipped(world, ratio, better / 2, worse / 2, low, high), 1 / 2)


@pytest.mark.parametrize(("low", "high"), CLIPS)
def test_rloo_off_policy(low: float, high: float) -> None:
    """The whole difference; and the ratio is that of whole replies, of one token and of two."""
    world = ragged(older=True)
    ratio, better, worse = off_policy(world)
    made = RLOO(
        *handed(world.policy), **{**LOOP, "num_minibatches": 2}, kl_coef=0.0, clip_ratio_low=low, clip_ratio_high=high
    )
    assert close(expected(made, world), clipped(world, ratio, better, worse, low, high))


@pytest.mark.parametrize(("low", "high"), CLIPS)
def test_ppo_off_policy(low: float, high: float) -> None:
    """Against a critic that says a half everywhere, with gamma = 0: a half more where right, a half less where not."""
    world = short(older=True)
    ratio = world.turns(world.logp() - world.batch.old_logprobs).exp()
    half = torch.where(world.batch.loss_mask, 0.5, 0.0).double()
    got = expected(ppo(world, gamma=0.0, clip_ratio_low=low, clip_ratio_high=high), world, values=half)
    assert close(got, clipped(world, ratio, world.correct / 2, (1 - world.correct) / 2, low, high), 1 / 2)


def test_how_far_clipping_is_from_the_truth() -> None:
    """Where nothing is clipped, RLOO's is the true gradient but for first replies that are still who sampled's: the
    second turn's contexts. A clip of 0.2 turns it by 29 degrees and leaves 0.83 of it; a clip of 0.05, 79 degrees."""
    world = ragged(older=True)
    ratio, better, worse = off_policy(world)
    before, second = world.turns(world.batch.old_logprobs)[:, 0].exp(), world.turns(world.logp())[:, 1].exp()
    first = world.turns(world.logp())[:, 0].exp() * second.detach() * world.correct[:, 0]
    contexts = world.descent((first + before * second * world.correct[:, 1]).sum())
    assert close(clipped(world, ratio, better, worse, 1.0, WIDE), contexts)
    left = [token_rewards(clipped(world, ratio, better, worse, c, c), truth(ragged())) for c in (0.05, 0.2, 0.4)]
    assert [cosine for cosine, _ in left] == pytest.approx([0.197, 0.876, 0.942], abs=0.01)
    assert left[1][1] == pytest.approx(0.833, abs=0.01)
    assert token_rewards(contexts, truth(ragged())) == pytest.approx((0.997, 0.937), abs=0.01)


def test_grpos_ratio_is_a_tokens() -> None:
    """It does not undo that the tokens before it were another policy's choice; RLOO's, of the whole reply, does."""
    world = ragged(older=True)
    ratio = torch.where(world.batch.loss_mask, (world.logp() - world.batch.old_logprobs).exp(), 0.0)
    better, worse = (world.spread(side / 2) for side in off_policy(world)[1:])
    got = expected(
        grpo(
            world, loss_agg_mode="seq_mean_token_sum_norm", clip_ratio_low=1.0, clip_ratio_high=WIDE, num_minibatches=2
        ),
        world,
    )
    assert close(got, clipped(world, ratio, better, worse, 1.0, WIDE), 1 / LONGEST)
    assert token_rewards(got, clipped(world, *off_policy(world), 1.0, WIDE))[0] == pytest.approx(0.989, abs=0.002)


# PPO's credit --------------------------------------------------------------------------------------------------------


def test_lambda_below_one_discounts_what_a_token_answers_for() -> None:
    """With V = 0 and lambda = 1/2: of two tokens and then one, the first answers for r1 / 2 + r2 / 4, the second for
    r1 + r2 / 2, the third for r2. A prompt between two turns takes no time."""
    world = even()
    r1, r2 = world.correct.T
    worth = torch.zeros_like(world.batch.old_logprobs)
    worth[world.batch.loss_mask] = torch.stack([r1 / 2 + r2 / 4, r1 + r2 / 2, r2], dim=1).flatten()
    got = expected(ppo(world, gae_lambda=0.5), world)
    assert close(got, world.pull(worth), 1 / 3)
    whole = world.pull(world.spread(torch.stack([r1 + r2, r2], dim=1)))
    assert token_rewards(got, whole)[0] < 0.99


def test_whitening() -> None:
    """Of four advantages of 0 or 1, m of them 1: less m / 4, over sqrt(m (4 - m) / 12); nothing where all are alike.
    Each is part of both numbers, and two turns that differ in how often they are right are held against each other."""
    world = short()
    ones = world.correct.sum(1)
    m = (ones[:, None] + ones[None])[..., None]
    white = torch.nan_to_num((world.correct[:, None] - m / 4) / (m * (4 - m) / 12).sqrt(), posinf=0.0, neginf=0.0)
    law = world.pull(world.spread((world.chance[None, :, None] * white).sum(1)))
    got = expected(ppo(world, normalize_advantage=True), world, apart=True)
    assert close(got, law, 1 / 2)
    assert token_rewards(got, truth(world))[0] == pytest.approx(0.99, abs=0.01)
