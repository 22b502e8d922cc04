"""List the keys, choices and metrics that had another name in earlier versions.

An old name on the command line is an error whose message has the new name. The migration page of the documentation is
generated from these tables.
"""

from __future__ import annotations

KEYS = {  # old key -> new key
    "algo.rounds": "algo.num_iterations",
    "algo.problems": "algo.groups_per_batch",
    "algo.samples": "algo.group_size",
    "algo.decay": "algo.lr_scheduler_type",
    "algo.warm_up": "algo.warmup_steps",
    "algo.clip_norm": "algo.max_grad_norm",
    "algo.epochs": "algo.update_epochs",
    "algo.updates": "algo.num_minibatches",
    "algo.clip_low": "algo.clip_ratio_low",
    "algo.clip_high": "algo.clip_ratio_high",
    "algo.standardize": "algo.scale_rewards",
    "algo.reduction": "algo.loss_agg_mode",
    "algo.skip_equal": "algo.remove_constant_reward_groups",
    "algo.lam": "algo.gae_lambda",
    "algo.value_weight": "algo.vf_coef",
    "algo.value_clip": "algo.clip_range_vf",
    "algo.whiten": "algo.normalize_advantage",
    "algo.beta": "algo.kl_coef",
    "algo.form": "algo.loss_type",
    "algo.nll": "algo.rpo_alpha",
    "algo.begin": "algo.init_from",
    "algo.union": "algo.accumulate_data",
    "algo.cap": "algo.max_per_problem",
    "algo.learn": "algo.train_on",
    "algo.heat": "algo.temperature",
    "algo.votes": "algo.num_votes",
    "algo.stage1_rounds": "algo.stage1_iterations",
    "algo.alpha": "algo.shaping_coef",
    "algo.paid": "algo.reward_turns",
    "scale.rounds": "scale.num_iterations",
    "scale.stage1_rounds": "scale.stage1_iterations",
    "scale.problems": "scale.groups_per_batch",
    "scale.samples": "scale.group_size",
    "scale.fit_steps": "scale.sft_minibatches",
    "scale.decay": "scale.lr_scheduler_type",
    "scale.eval_wide": "scale.pass_at_k_samples",
    "scale.eval_wide_problems": "scale.pass_at_k_problems",
    "policy.micro_tokens": "policy.max_tokens_per_micro_batch",
    "policy.template": "policy.chat_template",
    "policy.system": "policy.system_prompt",
    "policy.thinking": "policy.enable_thinking",
    "policy.attention": "policy.attn_implementation",
    "rollout.importance_cap": "rollout.importance_sampling_cap",
    "rollout.wait": "rollout.server_timeout",
    "rollout.requests": "rollout.max_concurrency",
    "rollout.batch": "rollout.max_batch_size",
    "rollout.compact": "rollout.compaction_threshold",
    "trainer.select": "trainer.eval_checkpoint",
    "trainer.max_failures": "trainer.max_reward_error_rate",
    "trainer.max_truncated": "alerts.clip_ratio",
    "eval.wide": "eval.pass_at_k_samples",
    "eval.wide_problems": "eval.pass_at_k_problems",
    "eval.fixed": "eval.shared_first_attempts",
    "eval.ranker": "eval.reranker",
    "orm.make": "orm.train_if_missing",
    "orm.continuations": "orm.rollouts_per_step",
    "curriculum.replay": "curriculum.replay_prob",
    "curriculum.staleness": "curriculum.staleness_coef",
    "curriculum.beta": "curriculum.score_temperature",
    "temperature.until": "temperature.anneal_fraction",
    "temperature.shape": "temperature.schedule",
    "init.epochs": "init.update_epochs",
    "init.updates": "init.num_minibatches",
    "start.threshold": "prefill.threshold",
    "start.window": "prefill.window",
    "start.mix": "prefill.mix",
    "start.share": "prefill.share",
    "student.problems": "distillation.problems",
    "student.samples": "distillation.group_size",
    "student.cap": "distillation.max_per_problem",
    "student.epochs": "distillation.update_epochs",
    "student.updates": "distillation.num_minibatches",
    "student.lr": "distillation.lr",
    "alarm.window": "alerts.window",
    "alarm.zero_variance": "alerts.frac_reward_zero_std",
    "alarm.entropy": "alerts.entropy",
    "alarm.kl": "alerts.kl",
    "alarm.no_edit": "alerts.unedited",
    "alarm.lost_reach": "alerts.sampling_efficiency_gap",
    "reward.progress.alpha": "reward.progress.shaping_coef",
}

GROUPS = {"start": "prefill", "student": "distillation", "alarm": "alerts"}  # old group -> new group

CHOICES = {  # old choice -> new choice
    "start=fresh": "prefill=none",
    "start=offline": "prefill=base_attempt",
    "start=backtrack": "prefill=partial_solution",
    "student=nothing": "distillation=none",
    "student=imitate": "distillation=sft",
    "entropy=nothing": "entropy=none",
    "reward=adjudicate": "reward=judge_gap",
    "eval=standard": "eval=default",
    "orm=standard": "orm=default",
    "compare=standard": "compare=default",
    "alarm=standard": "alerts=default",
}

VALUES = {  # old value -> new value
    "algo.loss_agg_mode=sequence": "seq_mean_token_mean",
    "algo.loss_agg_mode=token": "token_mean",
    "algo.loss_agg_mode=constant": "seq_mean_token_sum_norm",
    "algo.train_on=both": "all",
}


def renamed_key(key: str) -> str | None:
    """Return the new name of a key, or None if the key was not renamed."""
    return KEYS.get(key)


def renamed_word(word: str) -> str | None:
    """Return the new spelling of a word on the command line, or None if it was not renamed.

    ``algo.samples=8`` gives ``algo.group_size=8``, and ``start=fresh`` gives ``prefill=none``.
    """
    prefix = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, value = word.removeprefix(prefix).partition("=")
    if f"{key}={value}" in CHOICES:
        return prefix + CHOICES[f"{key}={value}"]
    new = KEYS.get(key) or GROUPS.get(key)
    return f"{prefix}{new}{equals}{value}" if new else None


METRICS = {  # old metric of metrics.jsonl -> new metric
    "round": "iteration",
    "done": "progress",
    "tokens": "response_length/mean",
    "truncated": "response_length/clip_ratio",
    "zero_variance": "frac_reward_zero_std",
    "gap": "sampling/logp_difference",
    "importance": "sampling/importance_ratio",
    "told_apart": "rewards/accuracies",
    "margin": "rewards/margins",
    "no_edit": "unedited",
    "failures": "reward_errors",
    "kept": "num_traces",
    "updates": "optimizer_steps",
    "reward_tN": "accuracy_tN",
    "paid_tN": "reward_tN",
}
