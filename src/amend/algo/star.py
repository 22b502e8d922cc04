"""STaR over two turns, the baseline of SCoRe (arXiv 2409.12917, section 4; Zelikman et al. 2022, arXiv 2203.14465).

    D   = {(x, y1, y2) : r(y1) = 0, r(y2) = 1}          traces that correct themselves
    D+  = D + {(x, y1, y2) : r(y1) = r(y2) = 1}         ``keep_correct``: and traces that had nothing to correct
    pi_i = argmin - E_D log pi(y2 | x, y1),  from the base model each iteration

Rationalisation, of the original STaR: a problem without a single right trace is asked again with its answer as a hint,
and a right reply is learnt as if it had been given without. The hint's wording is ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Unpack

from amend.algo.context import AlgorithmContext
from amend.algo.imitation import Imitation, ImitationConfig, at_temperature_one, group_by_problem, last_turn_only
from amend.types import Scored

HINT = " (Hint: the answer is {answer}.)"


class STaR(Imitation):
    """keep_correct, rationalise: as above; learn: the correction alone, or both turns of a trace."""

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
        """Traces that end right after a wrong attempt (or after any, with ``keep_correct``)."""
        seen = scored + (self.hinted(scored) if self.rationalise else [])
        kept = [one for one in seen if one.correct[-1] and (self.keep_correct or not one.correct[0])]
        return [at_temperature_one(last_turn_only(one) if self.which == "last" else one) for one in kept]

    def hinted(self, scored: list[Scored]) -> list[Scored]:
        """For each problem that never ended right: its first attempt, corrected by one that was given the answer."""
        failed = {
            name: some[0] for name, some in group_by_problem(scored).items() if not any(s.correct[-1] for s in some)
        }
        problems = [one.episode.problem for one in failed.values()]
        asked = [replace(p, question=p.question + HINT.format(answer=p.target)) for p in problems]
        before = self.runner.sampled_tokens
        told = self.runner(asked, 1, self.sampling_params()[-1:], (self.seed, self.iteration, 1)) if asked else []
        self.counters["sampled_tokens"] += self.runner.sampled_tokens - before
        found = []
        for episode in told:
            first = failed[episode.problem.id].episode
            replies = [(first.turns[0].reply, True), (episode.turns[0].reply, True)]
            found.append(replace(self.runner.build_episode(first.problem, replies), sample=first.sample))
        return self.reward(found) if found else []
