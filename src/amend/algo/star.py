"""Train with STaR over two turns, a baseline of SCoRe (arXiv 2409.12917, section 4).

    D   = {(x, y1, y2) : r(y1) = 0, r(y2) = 1}          traces that correct an error
    D+  = D + {(x, y1, y2) : r(y1) = r(y2) = 1}         ``keep_correct``: also traces without an error
    pi_i = argmin - E_D log pi(y2 | x, y1),  from the base model each iteration

The original STaR is by Zelikman et al. 2022 (arXiv 2203.14465). With its rationalization, a problem without any trace
that ends right is asked again, with the answer as a hint. A right reply is imitated without the hint. The wording of
the hint is ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Unpack

from amend.algo.context import AlgorithmContext
from amend.algo.imitation import Imitation, ImitationConfig, at_temperature_one, group_by_problem, last_turn_only
from amend.types import Scored

HINT = " (Hint: the answer is {answer}.)"


class STaR(Imitation):
    """Imitation of traces whose second attempt is right.

    Args:
        context: The context of the run.
        keep_correct: Whether to imitate D+ and not D.
        rationalise: Whether to ask again with the answer as a hint.
        train_on: The turns that are imitated: the last turn, or all turns of a trace.
        **imitation: The keys of ``ImitationConfig``.
    """

    min_turns = 2
    moves_replies = "rationalise"  # a reply to a hint is trained without the hint

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        keep_correct: bool,
        rationalise: bool,
        train_on: Literal["last", "all"],
        **imitation: Unpack[ImitationConfig],
    ) -> None:
        super().__init__(context, **imitation)
        self.keep_correct, self.rationalise, self.which = keep_correct, rationalise, train_on

    def select(self, scored: list[Scored]) -> list[Scored]:
        """Select traces that end right after a wrong first attempt, or after any with ``keep_correct``."""
        traces = scored + (self.hinted(scored) if self.rationalise else [])
        selected = [t for t in traces if t.correct[-1] and (self.keep_correct or not t.correct[0])]
        return [at_temperature_one(last_turn_only(t) if self.which == "last" else t) for t in selected]

    def hinted(self, scored: list[Scored]) -> list[Scored]:
        """Ask again, with the answer as a hint, for each problem without a trace that ends right.

        Args:
            scored: The episodes of an iteration.

        Returns:
            For each of these problems, its first attempt followed by the reply to the hint, with rewards.
        """
        unsolved = {
            name: group[0] for name, group in group_by_problem(scored).items() if not any(s.correct[-1] for s in group)
        }
        problems = [s.episode.problem for s in unsolved.values()]
        with_hint = [replace(p, question=p.question + HINT.format(answer=p.target)) for p in problems]
        tokens_before, seed = self.runner.sampled_tokens, (self.seed, self.iteration, 1)
        episodes = self.runner(with_hint, 1, self.sampling_params()[-1:], seed) if with_hint else []
        self.counters["sampled_tokens"] += self.runner.sampled_tokens - tokens_before
        corrections = []
        for episode in episodes:
            first = unsolved[episode.problem.id].episode
            replies = [(first.turns[0].reply, True), (episode.turns[0].reply, True)]
            corrections.append(replace(self.runner.build_episode(first.problem, replies), sample=first.sample))
        return self.reward(corrections) if corrections else []
