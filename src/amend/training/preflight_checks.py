"""The checks of ``job=doctor``: can this model, template and task be trained?

Each check returns one line: "ok", or what to change. They look for faults that ruin a run without an error: a sampler
and a trainer with different probabilities, an end token that is never trained, a template that rewrites earlier
turns, gold answers that are graded wrong, truncated replies, groups without a learning signal, and too little memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor

from amend.algo.base import GenerationStrategy
from amend.batch import Batch, collate
from amend.components import Components
from amend.policy.policy import Policy
from amend.training.estimates import available_memory, current_memory, estimate_memory, rows
from amend.training.round_metrics import compute_round_metrics
from amend.types import Completion, Episode, Problem, SamplingParams, Scored

TEMPERATURES = (0.6, 1.0, 1.5)
PROBLEMS, SAMPLES = 16, 8  # of the base sample, at most
SHORT = 48  # tokens of a reply where its content does not matter
GOLD = 200  # problems whose own answers are graded
EXACT, HALF = 2e-3, 0.25  # largest difference of log-probabilities: float32, and anything computed in bfloat16
ZERO_VARIANCE = 0.8  # share of groups that teach nothing
JOINED = ("So 5", "\n\nAgain.", "24>>")  # what is put after other tokens: a reply, a question, a tool's answer
SEED = 7_000_009
GIB = 2**30


class CheckResult(NamedTuple):
    """The result of a check: its name, whether it passed, and what was seen or what to change."""

    what: str
    ok: bool
    says: str

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'CHANGE':<7} {self.what:<26} {self.says}"


class CheckContext(NamedTuple):
    """The objects that the checks read, with a sample of the base model that several checks share."""

    cfg: DictConfig
    components: Components
    algorithm: GenerationStrategy
    scored: list[Scored]


def base_sample(cfg: DictConfig, components: Components) -> list[Scored]:
    """Sample the base model on a few training problems with the settings of a training iteration."""
    count = min(int(cfg.algo.get("groups_per_batch", PROBLEMS)), PROBLEMS)
    samples = max(2, min(int(cfg.algo.get("group_size", SAMPLES)), SAMPLES))
    temperature = list(cfg.temperature.get("value", [1.0])) or [1.0]
    sampling_params = [
        SamplingParams(float(temperature[min(k, len(temperature) - 1)]), cfg.algo.max_tokens)
        for k in range(components.runner.turns)
    ]
    problems = list(islice(components.task.problems("train"), count))
    return components.reward(components.runner(problems, samples, sampling_params, (SEED,)))


# tokenizer, template and data
# ---------------------------------------------------------------------------------------------------------


def end_and_padding(components: Components) -> Iterator[CheckResult]:
    """Check that an end token exists, that the template uses it, that the model has it, and that it is trained once."""
    policy = components.policy
    words, rows = len(policy.tokenizer), policy.lm.get_input_embeddings().weight.shape[0]
    if words > rows or max(policy.ends) >= rows:
        says = (
            f"the tokenizer has {max(words, max(policy.ends) + 1)} tokens and the model {rows} embeddings: take the "
            f"tokenizer that the model was trained with"
        )
        yield CheckResult("end token", False, says)
        return
    names = ", ".join(repr(policy.tokenizer.decode([token])) for token in policy.ends)
    if not policy.renderer.template_ends:
        says = (
            f"the chat template puts none of {names} after a reply, so earlier turns never show where a reply stops: "
            f"policy.chat_template=plain, or the path of one that does"
        )
        yield CheckResult("end token", False, says)
    else:
        yield CheckResult("end token", True, f"{names} end a reply; the last of it, kept and trained once")
    ended = Completion((*policy.renderer.encode("x"), policy.ends[0]), (0.0, 0.0), "x", "end")
    batch = batch_of_replies(components, [ended])
    kept = int((batch.tokens[batch.loss_mask] == policy.ends[0]).sum())
    pad = policy.tokenizer.pad_token_id
    same = (
        "the end token itself"
        if pad in policy.ends
        else "none"
        if pad is None
        else repr(policy.tokenizer.decode([pad]))
    )
    says = f"by length, never by value; the tokenizer's pad token is {same}"
    yield CheckResult(
        "padding", kept == 1, says if kept == 1 else f"the end token stands {kept} times among the trained"
    )


def template(components: Components) -> Iterator[CheckResult]:
    """Check that a further turn extends the tokens of the turn before, and that the text survives the tokenizer."""
    policy, play = components.policy, components.runner
    problem = components.task.problems("test")[0]
    said = "A reply, first.\n\nThen its end."
    if play.turns > 1:
        episode = play.build_episode(problem, [(play.reply(said), False)] * play.turns)
        for before, after in zip(episode.turns, episode.turns[1:], strict=False):
            whole = before.prompt + before.reply.tokens
            if after.prompt[: len(whole)] != whole:
                yield CheckResult(
                    "template", False, "a further turn does not extend the turn before: policy.chat_template=plain"
                )
                return
    opening = policy.renderer.build_generation_prompt(components.task.render_prompt(problem))
    text = str(policy.tokenizer.decode(list(opening), skip_special_tokens=False, clean_up_tokenization_spaces=False))
    again = policy.renderer.encode_document(text)
    begin = policy.tokenizer.bos_token_id
    if begin is not None and opening[:2] == (begin, begin):
        yield CheckResult("template", False, "the text begins twice: take the begin token out of the template")
    elif again != opening or policy.tokenizer.unk_token_id in opening:
        unknown = policy.tokenizer.unk_token_id in opening
        reason = "has tokens that the tokenizer does not know" if unknown else "is not what it was once decoded"
        yield CheckResult(
            "template", False, f"the rendered question {reason}: another tokenizer, or policy.chat_template=plain"
        )
    elif apart := [piece for piece in JOINED if not policy.renderer.joins(text, piece)]:
        says = f"{apart[0]!r} after the question is no longer that once encoded by itself: another tokenizer"
        yield CheckResult("template", False, says)
    else:
        says = f"only appends; a question of {len(opening)} tokens" if play.turns > 1 else "one turn, nothing to append"
        yield CheckResult("template", True, says)


def gold(components: Components) -> Iterator[CheckResult]:
    """Check that every gold answer is graded right, and an empty reply wrong."""
    problems = [
        *islice(components.task.problems("train"), GOLD // 2),
        *islice(components.task.problems("test"), GOLD // 2),
    ]
    wrong = problems
    for way in range(4):  # grading may be slow, so a form is tried only on problems that failed before
        pairs = [(problem, answer_forms(problem)[way]) for problem in wrong]
        verdicts = components.task.grade_many(pairs) if pairs else []
        wrong = [problem for problem, verdict in zip(wrong, verdicts, strict=True) if not verdict.correct]
    free = [
        p.id
        for p, v in zip(problems, components.task.grade_many([(p, "") for p in problems]), strict=True)
        if v.correct
    ]
    if wrong:
        count = f"{len(wrong)} of {len(problems)}"
        says = f"{count} are graded wrong, {wrong[0].id} first: correct their answers, or leave them out"
        yield CheckResult("gold answers", False, says)
    elif free:
        yield CheckResult("gold answers", False, f"an empty reply is right for {len(free)} problems, {free[0]} first")
    else:
        yield CheckResult("gold answers", True, f"all of {len(problems)} are graded right, and an empty reply wrong")


def answer_forms(problem: Problem) -> list[str]:
    """Return the right answer of a problem in the forms that tasks accept, its own solution first."""
    answer = problem.target
    return [str(problem.meta.get("solution") or answer), answer, f"\\boxed{{{answer}}}", f"#### {answer}"]


# what the base model does ---------------------------------------------------------------------------------------------


def truncation(context: CheckContext) -> CheckResult:
    """Check that few replies are cut at the length limit."""
    share, limit = compute_round_metrics(context.scored)["response_length/clip_ratio"], context.cfg.alerts.clip_ratio
    says = f"{share:.0%} of replies are cut at algo.max_tokens={context.cfg.algo.max_tokens}"
    change = ": raise it" if share < 1 else ": raise it, or take a model that ends its replies"
    return CheckResult("truncation", share <= limit, says if share <= limit else says + change)


def something_to_learn(context: CheckContext) -> CheckResult:
    """Report the base model's accuracy, and check that the samples of a problem differ in reward."""
    row = compute_round_metrics(context.scored)
    right = ", ".join(
        f"{row[f'accuracy_t{k + 1}']:.0%} at attempt {k + 1}" for k in range(context.components.runner.turns)
    )
    zero_variance = row.get("frac_reward_zero_std", 0.0)
    says = f"right: {right}; all samples equal in {zero_variance:.0%} of groups"
    if zero_variance <= ZERO_VARIANCE:
        return CheckResult("something to learn", True, says)
    hard = (
        "easier problems (task.levels), a better model" if row["accuracy_t1"] < 0.5 else "harder problems (task.levels)"
    )
    return CheckResult("something to learn", False, f"{says}, which teach nothing: {hard}, or more algo.group_size")


def parity(components: Components, temperature: float) -> CheckResult:
    """Compare the log-probabilities of the sampler with those of the trainer."""
    policy = components.policy
    problems = list(islice(components.task.problems("test"), 4))
    length = min(SHORT, longest_reply(components, problems))
    batch = collate_unscored(
        components.runner(problems, 2, [SamplingParams(temperature, length)] * components.runner.turns, (SEED, 1))
    ).to(policy.device)
    gaps = differences(policy, batch, temperature)
    bound = HALF if policy.in_bfloat16 else EXACT
    ok = max(gaps.values()) <= bound
    seen = ", ".join(f"{name} {gap:.1e}" for name, gap in gaps.items())
    says = f"{seen}: largest difference, {int(batch.loss_mask.sum())} tokens"
    advice = f", allowed {bound:g}: policy.attn_implementation=eager, policy.autocast=off, or rollout=local"
    return CheckResult(f"log-probabilities at {temperature:g}", ok, says if ok else says + advice)


def differences(policy: Policy, batch: Batch, temperature: float) -> dict[str, float]:
    """Return the largest |log p of the trainer - of the sampler| over sampled tokens: alone, batched and padded."""
    gaps = {"alone": 0.0, "batched": 0.0, "padded": 0.0}
    width = batch.tokens.shape[1]

    def gap(value: Tensor, row: slice, upto: int) -> float:
        is_trained = batch.loss_mask[row, :upto]
        return (
            float((value[:, :upto] - batch.old_logprobs[row, :upto])[is_trained].abs().max())
            if bool(is_trained.any())
            else 0.0
        )

    everything = slice(0, len(batch))
    with torch.no_grad():
        gaps["batched"] = gap(policy.logp(batch.tokens, batch.loss_mask, temperature), everything, width)
        tokens = torch.nn.functional.pad(batch.tokens, (0, 16), value=policy.ends[0])
        loss_mask = torch.nn.functional.pad(batch.loss_mask, (0, 16))
        if tokens.shape[1] <= policy.context:
            gaps["padded"] = gap(policy.logp(tokens, loss_mask, temperature), everything, width)
        for i in range(len(batch)):
            row, upto = slice(i, i + 1), int((batch.turn[i] >= 0).sum())
            gaps["alone"] = max(
                gaps["alone"],
                gap(policy.logp(batch.tokens[row, :upto], batch.loss_mask[row, :upto], temperature), row, upto),
            )
    return gaps


def memory(context: CheckContext) -> CheckResult:
    """Compare an estimate of the largest memory of a training iteration with the memory of the machine."""
    cfg, policy = context.cfg, context.components.policy
    longest = max(len(s.episode.turns[-1].prompt) for s in context.scored) + int(cfg.algo.max_tokens)
    parts = estimate_memory(policy, rows(cfg), longest)
    need, have = sum(parts.values()), available_memory(policy.device) + current_memory(policy)
    says = f"about {need / GIB:.1f} GiB of {have / GIB:.1f}"
    advice = {
        "activations": "a smaller policy.max_tokens_per_micro_batch, or policy.gradient_checkpointing=true",
        "cache": "a smaller rollout.max_batch_size",
        "weights": "tuning=lora with policy.dtype=bfloat16, or a smaller model",
    }[max(parts, key=lambda name: parts[name])]
    return CheckResult("memory", need <= have, says if need <= have else f"{says}: {advice}")


def collate_unscored(episodes: list[Episode]) -> Batch:
    """Return a batch of episodes whose rewards do not matter."""
    return collate([Scored(e, (0.0,) * len(e.turns), {}) for e in episodes])


def batch_of_replies(components: Components, replies: list[Completion]) -> Batch:
    """Return a batch of one conversation with these replies and one longer conversation, so that there is padding."""
    problem = components.task.problems("test")[0]
    longer = components.runner.reply("x " * 8)
    return collate_unscored(
        [
            components.runner.build_episode(problem, [(reply, is_trained)])
            for reply, is_trained in ((replies[0], True), (longer, False))
        ]
    )


def longest_reply(components: Components, problems: list[Problem]) -> int:
    """Tokens that each reply may have in the model's context."""
    opening = max(
        len(components.policy.renderer.build_generation_prompt(components.task.render_prompt(p))) for p in problems
    )
    silent = components.runner.build_episode(
        problems[0], [(components.runner.reply(""), False)] * components.runner.turns
    )
    around = len(silent.turns[-1].prompt) - len(silent.turns[0].prompt)
    return max(1, (components.policy.context - opening - around) // components.runner.turns - 1)
