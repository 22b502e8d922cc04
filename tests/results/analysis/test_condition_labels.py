"""What conditions are called."""

from __future__ import annotations

from amend.results.analysis.condition_labels import labels

RUN = "python run.py algo=score seed=0 runs_dir=runs logger=none trainer.threads=1"


def test_the_algorithm_is_enough_where_it_tells_them_apart() -> None:
    assert labels([("score", "math", RUN, ""), ("grpo", "math", RUN + " algo.lr=1", "")]) == ["score", "grpo"]


def test_words_of_the_command_line_tell_conditions_of_one_algorithm_apart() -> None:
    said = ["", " experiment=no_shaping seed=2", " experiment=null algo.gamma=0.9"]
    made = labels([("score", "math", RUN + more, "") for more in said])
    assert made == ["score", "score experiment=no_shaping", "score gamma=0.9"]


def test_else_the_configuration_does() -> None:
    configs = ["algo:\n  alpha: 1.0\nseed: 0\nrunsdir: a\n", "algo:\n  alpha: 2.0\nseed: 1\nrunsdir: a\n"]
    made = labels([("score", "math", RUN, config) for config in configs])
    assert made == ["score alpha=1.0", "score alpha=2.0"]


def test_no_two_are_called_alike_whatever_is_missing() -> None:
    assert labels([("a", "t", "", ""), ("a", "t", "'", "[not: a: mapping"), ("a", "t", "", "")]) == [
        "a",
        "a #2",
        "a #3",
    ]


def test_several_tasks_are_named() -> None:
    assert labels([("a", "math", RUN, ""), ("a", "mbpp", RUN, "")]) == ["a on math", "a on mbpp"]


def test_many_differing_values_are_not_all_spelt_out() -> None:
    words = [" ".join(f"k{i}={i + more}" for i in range(6)) for more in (0, 1)]
    assert labels([("a", "t", word, "") for word in words]) == ["a k0=0 k1=1 k2=2 +3", "a k0=1 k1=2 k2=3 +3"]


def test_a_key_is_called_by_its_last_word_where_no_other_is() -> None:
    made = labels([("a", "t", f"{RUN} budget.tokens={n} orm.lr=1", "") for n in (1, 2)])
    assert made == ["a tokens=1", "a tokens=2"]
    made = labels([("a", "t", f"{RUN} orm.lr={n} distillation.lr={n}", "") for n in (1, 2)])
    assert made == ["a orm.lr=1 distillation.lr=1", "a orm.lr=2 distillation.lr=2"]
