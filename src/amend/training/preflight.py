"""``job=doctor``: is this model, template and task fit to be trained on? A minute, before days.

Each finding is one line: "ok", or what to change. What quietly ruins runs is looked for on the user's own set-up: a
sampler and a trainer that read other probabilities, an end token that is never learnt, a template that rewrites, gold
answers that are graded wrong, replies cut short, nothing to learn from, a reference that moves, an update that does
nothing or never reaches the sampler, memory. The exit status is 0 only where every line is ok.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor

from amend.algo.base import Algorithm
from amend.batch import Batch, collate
from amend.components import Components, build_algorithm, build_components
from amend.errors import UserError
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
REACH = 0.5  # share of the trained weights that one step of algo.lr must change
JOINED = ("So 5", "\n\nAgain.", "24>>")  # what is put after other tokens: a reply, a question, a tool's answer
SEED = 7_000_009
GIB = 2**30


class CheckResult(NamedTuple):
    """One line: what was looked at, whether it is ok, and what was seen or is to be changed."""

    what: str
    ok: bool
    says: str

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'CHANGE':<7} {self.what:<26} {self.says}"


class CheckContext(NamedTuple):
    """What is examined, and the base model's sample that several findings are read from."""

    cfg: DictConfig
    components: Components
    algorithm: Algorithm
    scored: list[Scored]


def run_checks(cfg: DictConfig) -> Iterator[CheckResult]:
    """The findings, in order. What cannot even be set up is a finding, too, and then the only one."""
    try:
        components = build_components(cfg)
        algorithm = build_algorithm(cfg, components)
    except UserError as error:
        yield CheckResult("set-up", False, str(error))
        return
    for check in (end_and_padding, template, gold):
        yield from _guarded(check.__name__.replace("_", " "), lambda check=check: check(components))  # type: ignore[misc]
    try:
        scored = base_sample(cfg, components)
    except UserError as error:  # a reward that fails says so
        yield CheckResult("base sample", False, str(error))
        return
    context = CheckContext(cfg, components, algorithm, scored)
    yield from _guarded("truncation", lambda: [truncation(context)])
    yield from _guarded("something to learn", lambda: [something_to_learn(context)])
    for heat in TEMPERATURES:
        yield from _guarded(f"log-probabilities at {heat:g}", lambda heat=heat: [parity(components, heat)])  # type: ignore[misc]
    yield from _guarded("memory", lambda: [memory(context)])
    yield from _guarded("updates", lambda: updates(context))


def _guarded(what: str, check: Callable[[], Any]) -> Iterator[CheckResult]:
    try:
        yield from check()
    except UserError as error:
        yield CheckResult(what, False, str(error))


def base_sample(cfg: DictConfig, components: Components) -> list[Scored]:
    """What the base model does on a few training problems, as a round would ask it."""
    count = min(int(cfg.algo.get("groups_per_batch", PROBLEMS)), PROBLEMS)
    samples = max(2, min(int(cfg.algo.get("group_size", SAMPLES)), SAMPLES))
    heat = list(cfg.temperature.get("value", [1.0])) or [1.0]
    sampling_params = [
        SamplingParams(float(heat[min(k, len(heat) - 1)]), cfg.algo.max_tokens) for k in range(components.runner.turns)
    ]
    problems = list(islice(components.task.problems("train"), count))
    return components.reward(components.runner(problems, samples, sampling_params, (SEED,)))


# what is said ---------------------------------------------------------------------------------------------------------


def end_and_padding(components: Components) -> Iterator[CheckResult]:
    """Is there a token that ends a reply, does the template use it, and can the model say it?"""
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
            f"the chat template puts none of {names} after a reply, so earlier turns never show where one stops: "
            f"policy.chat_template=plain, or the path of one that does"
        )
        yield CheckResult("end token", False, says)
    else:
        yield CheckResult("end token", True, f"{names} end a reply; the last of it, kept and trained once")
    ended = Completion((*policy.renderer.encode("x"), policy.ends[0]), (0.0, 0.0), "x", "end")
    batch = _batch_of(components, [ended])
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
    """Does a further turn extend the very tokens of the turn before, and does the text survive the tokenizer?"""
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
        why = "has tokens that the tokenizer does not know" if unknown else "is not what it was once decoded"
        yield CheckResult(
            "template", False, f"the rendered question {why}: another tokenizer, or policy.chat_template=plain"
        )
    elif apart := [piece for piece in JOINED if not policy.renderer.joins(text, piece)]:
        says = f"{apart[0]!r} after the question is no longer that once encoded by itself: another tokenizer"
        yield CheckResult("template", False, says)
    else:
        says = f"only appends; a question of {len(opening)} tokens" if play.turns > 1 else "one turn, nothing to append"
        yield CheckResult("template", True, says)


def gold(components: Components) -> Iterator[CheckResult]:
    """Is every gold answer right, and is silence wrong?"""
    problems = [
        *islice(components.task.problems("train"), GOLD // 2),
        *islice(components.task.problems("test"), GOLD // 2),
    ]
    wrong = problems
    for way in range(4):  # the first way of telling it that is right ends the search: checking may be dear
        pairs = [(problem, _told(problem)[way]) for problem in wrong]
        verdicts = components.task.grade_many(pairs) if pairs else []
        wrong = [problem for problem, verdict in zip(wrong, verdicts, strict=True) if not verdict.correct]
    free = [
        p.id
        for p, v in zip(problems, components.task.grade_many([(p, "") for p in problems]), strict=True)
        if v.correct
    ]
    if wrong:
        count = f"{len(wrong)} of {len(problems)}"
        says = f"{count} are graded wrong, {wrong[0].id} first: mend their answers, or leave them out"
        yield CheckResult("gold answers", False, says)
    elif free:
        yield CheckResult("gold answers", False, f"an empty reply is right for {len(free)} problems, {free[0]} first")
    else:
        yield CheckResult("gold answers", True, f"all of {len(problems)} are graded right, and an empty reply wrong")


def _told(problem: Problem) -> list[str]:
    """Ways to state a problem's right answer: its own solution, and the answer as tasks ask for it."""
    answer = problem.answer
    return [str(problem.meta.get("solution") or answer), answer, f"\\boxed{{{answer}}}", f"#### {answer}"]


# what the base model does ---------------------------------------------------------------------------------------------


def truncation(context: CheckContext) -> CheckResult:
    """Are replies cut before they end?"""
    share, limit = compute_round_metrics(context.scored)["response_length/clip_ratio"], context.cfg.alerts.clip_ratio
    says = f"{share:.0%} of replies are cut at algo.max_tokens={context.cfg.algo.max_tokens}"
    change = ": raise it" if share < 1 else ": raise it, or take a model that ends its replies"
    return CheckResult("truncation", share <= limit, says if share <= limit else says + change)


def something_to_learn(context: CheckContext) -> CheckResult:
    """How often is the base model right, and do samples of one problem differ in reward?"""
    row = compute_round_metrics(context.scored)
    right = ", ".join(
        f"{row[f'accuracy_t{k + 1}']:.0%} at attempt {k + 1}" for k in range(context.components.runner.turns)
    )
    alike = row.get("frac_reward_zero_std", 0.0)
    says = f"right: {right}; all samples alike in {alike:.0%} of groups"
    if alike <= ZERO_VARIANCE:
        return CheckResult("something to learn", True, says)
    hard = (
        "easier problems (task.levels), a better model" if row["accuracy_t1"] < 0.5 else "harder problems (task.levels)"
    )
    return CheckResult("something to learn", False, f"{says}, which teach nothing: {hard}, or more algo.group_size")


def parity(components: Components, heat: float) -> CheckResult:
    """The largest difference between the sampler's log-probabilities and the trainer's: alone, batched, padded."""
    policy = components.policy
    problems = list(islice(components.task.problems("test"), 4))
    length = min(SHORT, _room(components, problems))
    batch = _collated(
        components.runner(problems, 2, [SamplingParams(heat, length)] * components.runner.turns, (SEED, 1))
    ).to(policy.device)
    gaps = differences(policy, batch, heat)
    bound = HALF if policy.in_bfloat16 else EXACT
    ok = max(gaps.values()) <= bound
    seen = ", ".join(f"{name} {gap:.1e}" for name, gap in gaps.items())
    says = f"{seen}: largest difference, {int(batch.loss_mask.sum())} tokens"
    advice = f", allowed {bound:g}: policy.attn_implementation=eager, policy.autocast=off, or rollout=local"
    return CheckResult(f"log-probabilities at {heat:g}", ok, says if ok else says + advice)


def differences(policy: Policy, batch: Batch, heat: float) -> dict[str, float]:
    """Largest |log p of the trainer - of the sampler| over drawn tokens, read in three ways."""
    gaps = {"alone": 0.0, "batched": 0.0, "padded": 0.0}
    width = batch.tokens.shape[1]

    def gap(value: Tensor, row: slice, upto: int) -> float:
        drawn = batch.loss_mask[row, :upto]
        return (
            float((value[:, :upto] - batch.old_logprobs[row, :upto])[drawn].abs().max()) if bool(drawn.any()) else 0.0
        )

    everything = slice(0, len(batch))
    with torch.no_grad():
        gaps["batched"] = gap(policy.logp(batch.tokens, batch.loss_mask, heat), everything, width)
        tokens = torch.nn.functional.pad(batch.tokens, (0, 16), value=policy.ends[0])
        loss_mask = torch.nn.functional.pad(batch.loss_mask, (0, 16))
        if tokens.shape[1] <= policy.context:
            gaps["padded"] = gap(policy.logp(tokens, loss_mask, heat), everything, width)
        for i in range(len(batch)):
            row, upto = slice(i, i + 1), int((batch.turn[i] >= 0).sum())
            gaps["alone"] = max(
                gaps["alone"], gap(policy.logp(batch.tokens[row, :upto], batch.loss_mask[row, :upto], heat), row, upto)
            )
    return gaps


def memory(context: CheckContext) -> CheckResult:
    """What training will need at the most, about, against what this machine has."""
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


# what an update does --------------------------------------------------------------------------------------------------


def updates(context: CheckContext) -> Iterator[CheckResult]:
    """A step of nothing changes nothing; a step changes the policy, the sampler with it, and never the reference."""
    components, learner = context.components, context.algorithm
    policy, batch = components.policy, collate(context.scored).to(components.policy.device)
    problem = [context.scored[0].episode.problem]
    sampling_params = [SamplingParams(1.0, min(SHORT, int(context.cfg.algo.max_tokens)))]
    before, asked = _trained(policy), (batch.tokens[:4], batch.loss_mask[:4], 1.0)
    base, first = policy.reference(*asked), components.runner(problem, 4, sampling_params, (SEED, 2))
    with torch.no_grad():
        same = torch.equal(base, policy.logp(*asked))

    with _bound(learner, 0.0):
        _step(learner, policy, batch)
    changed = sum(not torch.equal(a, b) for a, b in zip(before, _trained(policy), strict=True))
    says = (
        "changes nothing" if not changed else f"changes {changed} of {len(before)} tensors: report it, with this set-up"
    )
    yield CheckResult("a step of size 0", not changed, says)

    rate = float(learner.lr) or 1e-3
    _nudge(policy, batch, rate)
    pairs = list(zip(before, _trained(policy), strict=True))
    reach = sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a in before)
    wanted = REACH if policy.adapter is None else REACH / 2  # the first step of an update moves only B
    says = f"a step of {rate:g} changes {reach:.0%} of the trained weights"
    change = ": policy.dtype=float32 (forward passes stay in bfloat16 under policy.autocast), or tuning=lora"
    yield CheckResult("a step of algo.lr", reach >= wanted, says if reach >= wanted else says + change)

    _nudge(policy, batch, max(rate, 0.01))
    components.runner.sync_weights()
    still = torch.equal(policy.reference(*asked), base)
    if not same:
        yield CheckResult("reference", False, "is not the policy before training: report it, with this set-up")
    else:
        yield CheckResult(
            "reference", still, "stays where it was" if still else "moves with the policy: tuning=full or lora"
        )

    name = "the update and the sampler" if policy.adapter else "weights and the sampler"
    after = _collated(components.runner(problem, 4, sampling_params, (SEED, 2))).to(policy.device)
    gap = max(differences(policy, after, 1.0).values())
    moved = [e.turns[0].reply.logp for e in components.runner(problem, 4, sampling_params, (SEED, 2))] != [
        e.turns[0].reply.logp for e in first
    ]
    bound = HALF if policy.in_bfloat16 else EXACT
    ok = moved and gap <= bound
    says = f"what was learnt is sampled from (difference {gap:.1e})"
    yield CheckResult(
        name, ok, says if ok else f"the sampler is not the model that was trained (difference {gap:.1e}): rollout=local"
    )


def _step(learner: Algorithm, policy: Policy, batch: Batch) -> None:
    """One update by the learner itself, where it learns from a round as it is."""
    if learner.online and learner.num_iterations:
        learner.optimize(batch, 1, 1, (0.0, 0.0))
    else:
        _nudge(policy, batch, float(learner.lr))


@contextmanager
def _bound(learner: Algorithm, rate: float) -> Iterator[None]:
    """Within, the learner has an optimizer of its own, as under a trainer, and this learning rate."""
    was, learner.lr = learner.lr, rate
    optimizer = learner.configure_optimizers()
    mine: Any = learner
    mine.optimizers = lambda *_, **__: optimizer
    try:
        yield
    finally:
        learner.lr = was
        del mine.optimizers


def _nudge(policy: Policy, batch: Batch, rate: float) -> None:
    """One step of Adam away from what was drawn: a gradient that is nowhere nothing."""
    optimizer = torch.optim.Adam([w for w in policy.lm.parameters() if w.requires_grad], lr=rate)
    rows = slice(0, max(1, policy.max_tokens_per_micro_batch // batch.tokens.shape[1]))
    logp = policy.logp(batch.tokens[rows], batch.loss_mask[rows], 1.0)
    (logp.sum() / batch.loss_mask[rows].sum()).backward()
    optimizer.step()
    optimizer.zero_grad()


def _trained(policy: Policy) -> list[Tensor]:
    return [w.detach().to("cpu", copy=True) for w in policy.lm.parameters() if w.requires_grad]


def _collated(episodes: list[Episode]) -> Batch:
    return collate([Scored(e, (0.0,) * len(e.turns), {}) for e in episodes])


def _batch_of(components: Components, replies: list[Completion]) -> Batch:
    """A conversation in which these were the replies, beside a longer one, so that there is padding."""
    problem = components.task.problems("test")[0]
    longer = components.runner.reply("x " * 8)
    return _collated(
        [
            components.runner.build_episode(problem, [(reply, drawn)])
            for reply, drawn in ((replies[0], True), (longer, False))
        ]
    )


def _room(components: Components, problems: list[Problem]) -> int:
    """Tokens that each reply may have in the model's context."""
    opening = max(
        len(components.policy.renderer.build_generation_prompt(components.task.render_prompt(p))) for p in problems
    )
    silent = components.runner.build_episode(
        problems[0], [(components.runner.reply(""), False)] * components.runner.turns
    )
    around = len(silent.turns[-1].prompt) - len(silent.turns[0].prompt)
    return max(1, (components.policy.context - opening - around) // components.runner.turns - 1)
