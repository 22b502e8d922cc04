"""Check values that depend on each other, for jobs that train.

The module `cross_checks` runs these checks. No check knows the name of an algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from amend.config.schema import class_attribute
from amend.errors import UserError

Config = Mapping[str, Any]

GROUP_BASELINES = ("problem", "context")  # values of algo.baseline that compare the episodes of one problem
DIALOGUE_TURNS = {"single": 1, "self_refine": 3}  # number of turns of dialogues without a key ``turns``


def algo_attribute(config: Config, name: str, default: Any = None) -> Any:
    """Return a class attribute of the algorithm, or ``default`` if it has none."""
    return class_attribute(config["algo"]["_target_"], name, default=default)


def dialogue_turns(config: Config) -> int:
    """Return the number of turns of the dialogue."""
    dialogue = config["dialogue"]
    return int(dialogue.get("turns", DIALOGUE_TURNS.get(dialogue["name"], 1)))


def _check_fixed_values(c: Config) -> None:
    """Check the values that the definition of an algorithm fixes."""
    algo = c["algo"]
    units = {"turns": "turn", "group_size": "sample per problem"}
    for key, value in algo_attribute(c, "fixed", {}).items():
        if algo[key] != value:
            raise UserError(f"algo.{key}={algo[key]}: algo={algo['name']} has one {units[key]}; allowed: {value}")
    if by := algo_attribute(c, "turns_by"):
        key, turns = by
        if algo["turns"] != turns[algo[key]]:
            raise UserError(
                f"algo.turns={algo['turns']}: algo.{key}={algo[key]} needs another number; allowed: {turns[algo[key]]}"
            )


def _compares_group(c: Config) -> bool:
    """Return whether an episode is compared with the other episodes of its problem."""
    return bool(algo_attribute(c, "compares_group")) or c["algo"].get("baseline") in GROUP_BASELINES


def _check_group_size(c: Config) -> None:
    algo = c["algo"]
    if algo["group_size"] < 2 and _compares_group(c):
        always_compares = algo_attribute(c, "compares_group")
        reason = f"algo={algo['name']}" if always_compares else f"algo.baseline={algo['baseline']}"
        raise UserError(
            f"algo.group_size={algo['group_size']}: {reason} compares the episodes of a problem; allowed: >= 2"
        )


def _check_base_attempt(c: Config) -> None:
    algo, prefill = c["algo"], c["prefill"]
    if prefill["name"] != "base_attempt":
        return
    if algo["turns"] < 2:
        raise UserError(
            f"prefill=base_attempt: this prefill replaces the first attempt, so algo.turns={algo['turns']} has no turn "
            f"to train; allowed: prefill=none, or algo.turns >= 2"
        )
    first = 1 if algo_attribute(c, "one_first_attempt") else algo["group_size"]
    if round((share := prefill["share"]) * first) == 0:
        raise UserError(
            f"prefill.share={share}: with {first} first attempt{'s' * (first > 1)} per problem, this share rounds to "
            "none; allowed: prefill=none, or a larger prefill.share"
        )


def _check_pass_at_k_problems(c: Config) -> None:
    evaluation = c["eval"]
    if evaluation["pass_at_k_problems"] > evaluation["problems"] and evaluation["pass_at_k_samples"]:
        raise UserError(
            f"eval.pass_at_k_problems={evaluation['pass_at_k_problems']}: allowed: at most "
            f"eval.problems={evaluation['problems']}"
        )


def _check_entropy(c: Config) -> None:
    algo, entropy = c["algo"], c["entropy"]["name"]
    if not algo_attribute(c, "has_token_loss", default=True) and entropy != "none":
        raise UserError(
            f"entropy={entropy}: algo={algo['name']} has a loss per pair, not per token; allowed: entropy=none"
        )
    if entropy == "kl_cov" and algo["num_minibatches"] * algo["update_epochs"] == 1:
        raise UserError(
            "entropy=kl_cov: with algo.num_minibatches=1 and algo.update_epochs=1, the policy equals the sampling "
            "policy and the KL is 0; allowed: algo.num_minibatches >= 2"
        )
    if "iterations" in algo and entropy in ("clip_cov", "kl_cov"):
        raise UserError(
            f"entropy={entropy}: algo={algo['name']} gives every token the same advantage, so it has no covariance "
            f"with the log-probability; allowed: none or bonus"
        )


def _check_num_minibatches(c: Config) -> None:
    algo = c["algo"]
    episodes = algo["groups_per_batch"] * algo["group_size"]
    if algo["num_minibatches"] > episodes and "iterations" not in algo:
        raise UserError(
            f"algo.num_minibatches={algo['num_minibatches']}: an iteration has {episodes} episodes; "
            f"allowed: 1 to {episodes}"
        )


def _check_turns(c: Config) -> None:
    algo, turns = c["algo"], dialogue_turns(c)
    if algo["turns"] > turns:
        raise UserError(
            f"algo.turns={algo['turns']}: dialogue={c['dialogue']['name']} has {turns} turn{'s' * (turns > 1)}; "
            f"allowed: 1 to {turns}{', or dialogue=self_correct' if turns == 1 else ', or a larger dialogue.turns'}"
        )
    if turns < algo_attribute(c, "min_dialogue_turns", 1):
        raise UserError(f"algo={algo['name']}: its pairs have two turns; allowed: a dialogue of 2 or more turns")
    if algo["turns"] < algo_attribute(c, "min_turns", 1):
        raise UserError(
            f"algo.turns={algo['turns']}: algo={algo['name']} trains on corrections; allowed: 2 or more, or "
            "algo=expert_iteration"
        )


def _check_exploration(c: Config) -> None:
    """Check for exploration strategies that an algorithm would ignore or that would corrupt its data."""
    algo = c["algo"]
    if not algo_attribute(c, "samples_from_policy", default=True):
        for group, default in (("prefill", "none"), ("curriculum", "uniform"), ("temperature", "constant")):
            if c[group]["name"] != default:
                raise UserError(
                    f"{group}={c[group]['name']}: algo={algo['name']} samples nothing; allowed: {group}={default}"
                )
    moves = algo_attribute(c, "moves_replies", default=False)  # a boolean, or the key with the boolean
    if (algo[moves] if isinstance(moves, str) else moves) and c["prefill"]["name"] == "partial_solution":
        raise UserError(
            f"prefill=partial_solution: algo={algo['name']} trains on replies in another context, which does not have "
            "the prefill; allowed: prefill=none"
        )


def _check_reward(c: Config) -> None:
    """Check for rewards without effect in this combination."""
    algo, reward = c["algo"], c["reward"]
    if "progress" in reward and algo["turns"] < 2:
        raise UserError(
            f"reward=progress: this reward compares two attempts, and algo.turns={algo['turns']} has only one; "
            "allowed: reward=oracle, or algo.turns >= 2"
        )
    if reward.get("orm", {}).get("use") == "difference" and algo["turns"] == 1 and _compares_group(c):
        raise UserError(
            f"reward.orm.use=difference: algo={algo['name']} compares the total rewards of replies, and the "
            "differences of a reply sum to use=sparse minus a constant; allowed: sparse, value, or algo=ppo"
        )
    if "progress" in reward and algo.get("shaping_coef"):
        raise UserError(
            f"reward=progress: algo={algo['name']} already adds this bonus (algo.shaping_coef={algo['shaping_coef']}), "
            f"so it would count twice; allowed: reward=oracle, or algo.shaping_coef=0"
        )


def _check_stages(c: Config) -> None:
    algo = c["algo"]
    if "stage1_iterations" not in algo:
        return
    parts = max(algo["turns"] - 1, 1)
    stage1, total = algo["stage1_iterations"], algo["num_iterations"]
    if stage1 * parts > total:
        raise UserError(
            f"algo.stage1_iterations={stage1}: Stage I has {parts} part{'s' * (parts > 1)} of this length, "
            f"and the whole run has algo.num_iterations={total}; allowed: 0 to {total // parts}"
        )
    if algo["baseline"] == "context" and algo["gamma"] > 0:
        raise UserError(
            f"algo.baseline=context: with algo.gamma={algo['gamma']}, the context of a turn determines no part "
            f"of its return; allowed: none, batch, problem, or algo.gamma=0"
        )
    if algo["adaptive_beta2"] and (not stage1 or not algo["beta2"]):
        raise UserError(
            f"algo.adaptive_beta2=true: Stage I adapts beta2, starting at algo.beta2; allowed: false, "
            f"or algo.stage1_iterations >= 1 (now {stage1}) with algo.beta2 > 0 (now {algo['beta2']})"
        )


def _check_reference(c: Config) -> None:
    has_prefill, shared = c["prefill"]["name"] == "base_attempt", c["eval"]["shared_first_attempts"]
    option = "prefill=base_attempt" if has_prefill else "eval.shared_first_attempts=true" if shared else ""
    if option and c["algo"].get("reference") == "previous":
        raise UserError(
            f"{option}: this option needs first attempts of the base model, which algo.reference=previous does not "
            f"keep; allowed: algo.reference=base"
        )


TRAINING_CHECKS: tuple[Callable[[Config], None], ...] = (
    _check_fixed_values,
    _check_group_size,
    _check_base_attempt,
    _check_pass_at_k_problems,
    _check_entropy,
    _check_num_minibatches,
    _check_turns,
    _check_exploration,
    _check_reward,
    _check_stages,
    _check_reference,
)
