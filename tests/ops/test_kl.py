"""Every KL against the exact one on a six-token softmax: its value, and what its gradient really is (law 5)."""

import pytest
import torch

from amend.ops import kl


def softmaxes(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    theta, reference = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    return theta.requires_grad_(), reference.log_softmax(-1)


def gradients() -> dict[str, torch.Tensor]:
    """Expected gradient over a ~ pi (held fixed) of each estimator used as a loss; ``exact`` is the KL's own."""
    found = {}
    for name in ("exact", "k2", "k3", "reverse"):
        theta, reference = softmaxes()
        logp = theta.log_softmax(-1)
        draw = logp.detach().exp()
        if name == "exact":
            loss = kl.exact(logp[None], reference[None]).sum()
        elif name == "reverse":
            loss = (reference.exp() * (reference - logp)).sum()  # KL(ref || pi)
        else:
            loss = (draw * getattr(kl, name)(logp, reference)).sum()
        found[name] = torch.autograd.grad(loss, theta)[0]
    return found


def test_exact_value() -> None:
    theta, reference = softmaxes()
    logp = theta.log_softmax(-1)
    by_hand = sum(p.exp() * (p - q) for p, q in zip(logp, reference, strict=True))
    assert torch.allclose(kl.exact(logp[None], reference[None])[0], by_hand)


def test_exact_counts_nothing_for_tokens_that_cannot_be_drawn() -> None:
    logp = torch.tensor([[0.0, -torch.inf]])
    assert kl.exact(logp, torch.tensor([[-0.5, -0.9]])).item() == pytest.approx(0.5)


def test_k2_has_the_gradient_of_the_kl() -> None:
    found = gradients()
    assert torch.allclose(found["k2"], found["exact"], rtol=1e-12)


def test_k3_has_another_gradient_and_it_is_the_reverse_kls() -> None:
    """E_pi of k3's gradient is that of KL(ref || pi): a different objective from KL(pi || ref)."""
    found = gradients()
    assert torch.allclose(found["k3"], found["reverse"], rtol=1e-12)
    assert not torch.allclose(found["k3"], found["exact"], rtol=1e-2)


def test_k1_cannot_be_used_as_a_loss() -> None:
    theta, reference = softmaxes()
    assert not kl.k1(theta.log_softmax(-1), reference).requires_grad


def test_k1_in_the_reward_has_the_gradient_of_the_kl() -> None:
    theta, reference = softmaxes()
    logp = theta.log_softmax(-1)
    loss = (logp.detach().exp() * kl.k1(logp, reference) * logp).sum()  # score function, KL as its cost
    assert torch.allclose(torch.autograd.grad(loss, theta)[0], gradients()["exact"], rtol=1e-12)


def test_values_are_unbiased_where_said() -> None:
    theta, reference = softmaxes()
    logp = theta.log_softmax(-1).detach()
    exact = kl.exact(logp[None], reference[None])[0]
    for estimator in (kl.k1, kl.k3):
        assert torch.allclose((logp.exp() * estimator(logp, reference)).sum(), exact)


def test_the_reference_gets_no_gradient() -> None:
    theta, _ = softmaxes()
    reference = torch.randn(6, dtype=torch.float64).requires_grad_()
    logp = theta.log_softmax(-1)
    (kl.k2(logp, reference) + kl.k3(logp, reference) + kl.exact(logp[None], reference[None])).sum().backward()
    assert reference.grad is None
