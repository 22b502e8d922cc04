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
PROBLEMS, SAMPLES = 16, 8  # largest number of problems, and of samples per problem, in the base sample
SHORT = 48  # tokens of a reply whose content does not matter
GOLD = 200  # number of problems whose gold answers are graded
EXACT, HALF = (
    2e-3,
    0.25,
)  # largest difference of log-probabilities, in nats: for float32, and for computation in bfloat16
ZERO_VARIANCE = 0.8  # largest share of groups with equal rewards
JOINED = ("So 5", "\n\nAgain.", "24>>")  # texts that follow other tokens: a reply, a question, the answer of a tool
SEED = 7_000_009
GIB = 2**30


class CheckResult(NamedTuple):
    """The result of a check.

    Attributes:
        what: The name of the check.
        ok: Whether it passed.
        says: The measurement, or what to change.
    """

    what: str
    ok: bool
    says: str

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'CHANGE':<7} {self.what:<26} {self.says}"


class CheckContext(NamedTuple):
    """The objects that the checks read.

    Attributes:
        cfg: The configuration of the run.
        components: The components of the run.
        algorithm: The algorithm of the run.
        scored: A sample of the base model, which several checks share.
    """

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
            f"the chat template puts none of {names} after a reply, so a reply in an earlier turn has no end token: "
            f"policy.chat_template=plain, or the path of a template that does"
        )
        yield CheckResult("end token", False, says)
    else:
        yield CheckResult("end token", True, f"{names}: the last token of a reply, trained once")
    ended = Completion((*policy.renderer.encode("x"), policy.ends[0]), (0.0, 0.0), "x", "end")
    batch = batch_of_replies(components, [ended])
    num_ends = int((batch.tokens[batch.loss_mask] == policy.ends[0]).sum())
    pad = policy.tokenizer.pad_token_id
    pad_name = (
        "the end token itself"
        if pad in policy.ends
        else "none"
        if pad is None
        else repr(policy.tokenizer.decode([pad]))
    )
    says = f"by length, independent of token values; the tokenizer's pad token is {pad_name}"
    yield CheckResult(
        "padding", num_ends == 1, says if num_ends == 1 else f"the end token is trained {num_ends} times, not once"
    )


def template(components: Components) -> Iterator[CheckResult]:
    """Check that a further turn extends the tokens of the turn before, and that the text survives the tokenizer."""
    policy, runner = components.policy, components.runner
    problem = components.task.problems("test")[0]
    reply = "A reply, first.\n\nThen its end."
    if runner.turns > 1:
        episode = runner.build_episode(problem, [(runner.reply(reply), False)] * runner.turns)
        for before, after in zip(episode.turns, episode.turns[1:], strict=False):
            prefix = before.prompt + before.reply.tokens
            if after.prompt[: len(prefix)] != prefix:
                yield CheckResult(
                    "template",
                    False,
                    "a turn does not extend the tokens of the previous turn: policy.chat_template=plain",
                )
                return
    prompt = policy.renderer.build_generation_prompt(components.task.render_prompt(problem))
    text = str(policy.tokenizer.decode(list(prompt), skip_special_tokens=False, clean_up_tokenization_spaces=False))
    encoded = policy.renderer.encode_document(text)
    bos = policy.tokenizer.bos_token_id
    if bos is not None and prompt[:2] == (bos, bos):
        yield CheckResult("template", False, "the text begins twice: take the begin token out of the template")
    elif encoded != prompt or policy.tokenizer.unk_token_id in prompt:
        unknown = policy.tokenizer.unk_token_id in prompt
        reason = (
            "has tokens that the tokenizer does not know" if unknown else "has other tokens after decoding and encoding"
        )
        yield CheckResult(
            "template", False, f"the rendered question {reason}: another tokenizer, or policy.chat_template=plain"
        )
    elif changed := [piece for piece in JOINED if not policy.renderer.decodes_same_when_joined(text, piece)]:
        says = f"{changed[0]!r} after the question has other tokens than by itself: another tokenizer"
        yield CheckResult("template", False, says)
    else:
        says = (
            f"only appends; the prompt has {len(prompt)} tokens" if runner.turns > 1 else "one turn, nothing to append"
        )
        yield CheckResult("template", True, says)


def gold(components: Components) -> Iterator[CheckResult]:
    """Check that every gold answer is graded right, and an empty reply wrong."""
    problems = [
        *islice(components.task.problems("train"), GOLD // 2),
        *islice(components.task.problems("test"), GOLD // 2),
    ]
    wrong = problems
    for form in range(4):  # grading may be slow, so a form is tried only on problems that failed before
        pairs = [(problem, answer_forms(problem)[form]) for problem in wrong]
        verdicts = components.task.grade_many(pairs) if pairs else []
        wrong = [problem for problem, verdict in zip(wrong, verdicts, strict=True) if not verdict.correct]
    accepted_empty = [
        p.id
        for p, v in zip(problems, components.task.grade_many([(p, "") for p in problems]), strict=True)
        if v.correct
    ]
    if wrong:
        count = f"{len(wrong)} of {len(problems)}"
        says = f"{count} are graded wrong, {wrong[0].id} first: correct their answers, or leave them out"
        yield CheckResult("gold answers", False, says)
    elif accepted_empty:
        says = f"an empty reply is right for {len(accepted_empty)} problems, {accepted_empty[0]} first"
        yield CheckResult("gold answers", False, says)
    else:
        yield CheckResult("gold answers", True, f"all of {len(problems)} are graded right, and an empty reply wrong")


def answer_forms(problem: Problem) -> list[str]:
    """Return the right answer of a problem in the forms that tasks accept, the given solution first."""
    answer = problem.target
    return [str(problem.meta.get("solution") or answer), answer, f"\\boxed{{{answer}}}", f"#### {answer}"]


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
    advice = (
        "easier problems (task.levels), a better model" if row["accuracy_t1"] < 0.5 else "harder problems (task.levels)"
    )
    return CheckResult("something to learn", False, f"{says}, which teach nothing: {advice}, or more algo.group_size")


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

    all_rows = slice(0, len(batch))
    with torch.no_grad():
        gaps["batched"] = gap(policy.logprobs(batch.tokens, batch.loss_mask, temperature), all_rows, width)
        tokens = torch.nn.functional.pad(batch.tokens, (0, 16), value=policy.ends[0])
        loss_mask = torch.nn.functional.pad(batch.loss_mask, (0, 16))
        if tokens.shape[1] <= policy.max_length:
            gaps["padded"] = gap(policy.logprobs(tokens, loss_mask, temperature), all_rows, width)
        for i in range(len(batch)):
            row, upto = slice(i, i + 1), int((batch.turn[i] >= 0).sum())
            gaps["alone"] = max(
                gaps["alone"],
                gap(policy.logprobs(batch.tokens[row, :upto], batch.loss_mask[row, :upto], temperature), row, upto),
            )
    return gaps


def memory(context: CheckContext) -> CheckResult:
    """Compare an estimate of the largest memory of a training iteration with the memory of the machine."""
    cfg, policy = context.cfg, context.components.policy
    longest = max(len(s.episode.turns[-1].prompt) for s in context.scored) + int(cfg.algo.max_tokens)
    parts = estimate_memory(policy, rows(cfg), longest)
    needed, available = sum(parts.values()), available_memory(policy.device) + current_memory(policy)
    says = f"about {needed / GIB:.1f} GiB of {available / GIB:.1f}"
    advice = {
        "activations": "a smaller policy.max_tokens_per_micro_batch, or policy.gradient_checkpointing=true",
        "cache": "a smaller rollout.max_batch_size",
        "weights": "tuning=lora with policy.dtype=bfloat16, or a smaller model",
    }[max(parts, key=lambda name: parts[name])]
    return CheckResult("memory", needed <= available, says if needed <= available else f"{says}: {advice}")


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
    """Return how many tokens each reply may have, so that the whole conversation fits into the model's context."""
    longest_prompt = max(
        len(components.policy.renderer.build_generation_prompt(components.task.render_prompt(p))) for p in problems
    )
    empty = components.runner.build_episode(
        problems[0], [(components.runner.reply(""), False)] * components.runner.turns
    )
    overhead = len(empty.turns[-1].prompt) - len(empty.turns[0].prompt)
    return max(1, (components.policy.max_length - longest_prompt - overhead) // components.runner.turns - 1)
