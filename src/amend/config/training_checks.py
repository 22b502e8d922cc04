"""Cross-field checks of jobs that train. ``cross_checks`` runs them; no check knows the name of an algorithm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from amend.config.schema import class_attribute
from amend.errors import UserError

Config = Mapping[str, Any]

GROUP_BASELINES = ("problem", "context")  # values of algo.baseline that compare an episode with its problem's others
DIALOGUE_TURNS = {"single": 1, "self_refine": 3}  # of dialogues without a key ``turns``


def algo_attribute(config: Config, name: str, default: Any = None) -> Any:
    """Return a class attribute of the algorithm."""
    return class_attribute(config["algo"]["_target_"], name, default=default)


def dialogue_turns(config: Config) -> int:
    """Return the number of turns of the dialogue."""
    dialogue = config["dialogue"]
    return int(dialogue.get("turns", DIALOGUE_TURNS.get(dialogue["name"], 1)))


def _check_fixed_values(c: Config) -> None:
    """Values that an algorithm has by its definition."""
    algo = c["algo"]
    nouns = {"turns": "turn", "group_size": "sample"}
    for key, wanted in algo_attribute(c, "fixed", {}).items():
        if algo[key] != wanted:
            raise UserError(f"algo.{key}={algo[key]}: algo={algo['name']} has one {nouns[key]}; allowed: {wanted}")
    if by := algo_attribute(c, "turns_by"):
        key, turns = by
        if algo["turns"] != turns[algo[key]]:
            raise UserError(f"algo.turns={algo['turns']}: with algo.{key}={algo[key]}; allowed: {turns[algo[key]]}")


def _compares_group(c: Config) -> bool:
    """Return whether an episode is compared with the other episodes of its problem."""
    return bool(algo_attribute(c, "compares_group")) or c["algo"].get("baseline") in GROUP_BASELINES


def _check_group_size(c: Config) -> None:
    algo = c["algo"]
    if algo["group_size"] < 2 and _compares_group(c):
        by_nature = algo_attribute(c, "compares_group")
        reason = f"algo={algo['name']}" if by_nature else f"algo.baseline={algo['baseline']}"
        raise UserError(
            f"algo.group_size={algo['group_size']}: {reason} compares a problem's episodes with each other; "
            "allowed: >= 2"
        )


def _check_base_attempt(c: Config) -> None:
    algo, prefill = c["algo"], c["prefill"]
    if prefill["name"] != "base_attempt":
        return
    if algo["turns"] < 2:
        raise UserError(
            f"prefill=base_attempt: with algo.turns={algo['turns']} the given first attempt leaves nothing to train; "
            f"allowed: prefill=none, or algo.turns >= 2"
        )
    first = 1 if algo_attribute(c, "one_first_attempt") else algo["group_size"]
    if round((share := prefill["share"]) * first) == 0:
        raise UserError(
            f"prefill.share={share}: of {first} first attempt{'s' * (first > 1)} of a problem that is none; allowed: "
            "prefill=none, or a larger prefill.share"
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
            f"entropy={entropy}: algo={algo['name']} has a loss for each pair and none for a token; "
            "allowed: entropy=none"
        )
    if entropy == "kl_cov" and algo["num_minibatches"] * algo["update_epochs"] == 1:
        raise UserError(
            "entropy=kl_cov: with algo.num_minibatches=1 and algo.update_epochs=1 the policy never leaves the one that "
            "sampled; allowed: algo.num_minibatches >= 2"
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
            f"algo.turns={algo['turns']}: dialogue={c['dialogue']['name']} has {turns}; allowed: 1 to {turns}"
            f"{', or dialogue=self_correct' if turns == 1 else ', or a larger dialogue.turns'}"
        )
    if turns < algo_attribute(c, "min_dialogue_turns", 1):
        raise UserError(f"algo={algo['name']}: its pairs are of two turns; allowed: a dialogue of 2 or more")
    if algo["turns"] < algo_attribute(c, "min_turns", 1):
        raise UserError(
            f"algo.turns={algo['turns']}: algo={algo['name']} trains on corrections; allowed: 2 or more, or "
            "algo=expert_iteration"
        )


def _check_exploration(c: Config) -> None:
    """Exploration strategies that an algorithm would ignore or that would corrupt its data."""
    algo = c["algo"]
    if not algo_attribute(c, "samples_from_policy", default=True):
        for group, default in (("prefill", "none"), ("curriculum", "uniform"), ("temperature", "constant")):
            if c[group]["name"] != default:
                raise UserError(
                    f"{group}={c[group]['name']}: algo={algo['name']} samples nothing; allowed: {group}={default}"
                )
    moves = algo_attribute(c, "moves_replies", default=False)  # True, or the key that decides it
    if (algo[moves] if isinstance(moves, str) else moves) and c["prefill"]["name"] == "partial_solution":
        raise UserError(
            f"prefill=partial_solution: algo={algo['name']} puts replies into another context, where the prefilled "
            "part would be missing; allowed: prefill=none"
        )


def _check_reward(c: Config) -> None:
    """Rewards without effect in this combination."""
    algo, reward = c["algo"], c["reward"]
    if "progress" in reward and algo["turns"] < 2:
        raise UserError(
            f"reward=progress: with algo.turns={algo['turns']} there is no second attempt to progress; allowed: "
            "reward=oracle, or algo.turns >= 2"
        )
    if reward.get("orm", {}).get("use") == "difference" and algo["turns"] == 1 and _compares_group(c):
        raise UserError(
            f"reward.orm.use=difference: algo={algo['name']} compares whole replies to one question, and over a reply "
            "the differences add up to use=sparse minus a constant; allowed: sparse, value, or algo=ppo"
        )
    if "progress" in reward and algo.get("shaping_coef"):
        raise UserError(
            f"reward=progress: algo={algo['name']} has the bonus itself (algo.shaping_coef={algo['shaping_coef']}) and "
            f"would pay it twice; allowed: reward=oracle, or algo.shaping_coef=0"
        )


def _check_stages(c: Config) -> None:
    algo = c["algo"]
    if "stage1_iterations" not in algo:
        return
    parts = max(algo["turns"] - 1, 1)
    stage1, total = algo["stage1_iterations"], algo["num_iterations"]
    if stage1 * parts > total:
        raise UserError(
            f"algo.stage1_iterations={stage1}: Stage I has {parts} part{'s' * (parts > 1)} of that length, "
            f"and the run algo.num_iterations={total}; allowed: 0 to {total // parts}"
        )
    if algo["baseline"] == "context" and algo["gamma"] > 0:
        raise UserError(
            f"algo.baseline=context: with algo.gamma={algo['gamma']} no reward is known when a turn begins; "
            f"allowed: none, batch, problem, or algo.gamma=0"
        )
    if algo["adaptive_beta2"] and (not stage1 or not algo["beta2"]):
        raise UserError(
            f"algo.adaptive_beta2=true: beta2 has an effect in Stage I only, starting from algo.beta2; allowed: false, "
            f"or algo.stage1_iterations >= 1 (now {stage1}) with algo.beta2 > 0 (now {algo['beta2']})"
        )


def _check_reference(c: Config) -> None:
    given, shared = c["prefill"]["name"] == "base_attempt", c["eval"]["shared_first_attempts"]
    asked = "prefill=base_attempt" if given else "eval.shared_first_attempts=true" if shared else ""
    if asked and c["algo"].get("reference") == "previous":
        raise UserError(
            f"{asked}: with algo.reference=previous the base model is not kept, whose first attempts it needs; "
            f"allowed: algo.reference=base"
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
