"""FLOPs against the figures that google-research/electra's `flops_computation.py` prints, and hand counts."""

from __future__ import annotations

import pytest
import torch

from electralab.electra.encoder import ElectraConfig, generator_config
from electralab.electra.flops import forward_flops, petaflop_s_days, training_flops
from electralab.electra.pair import ElectraPair

SMALL = ElectraConfig(30522, 128, 256, 12, 4, 1024)
BASE = ElectraConfig(30522, 768, 768, 12, 12, 3072)
LARGE = ElectraConfig(30522, 1024, 1024, 24, 16, 4096)


def pair(config: ElectraConfig, size: float) -> ElectraPair:
    with torch.device("meta"):
        return ElectraPair(config, generator_config(config, size))


@pytest.mark.parametrize(
    ("size", "paper", "matmul"),
    [
        (0.125, 1.257e18, None),
        (0.25, 1.294e18, 1.150e18),
        (0.5, 1.424e18, None),
        (0.75, 1.634e18, None),
        (1, 1.920e18, None),
    ],
)
def test_electra_small_for_a_million_steps(size: float, paper: float, matmul: float | None) -> None:
    flops = training_flops(pair(SMALL, size), 128, 128, 1_000_000)
    assert flops["electra_paper"] == pytest.approx(paper, rel=5e-4)
    if matmul is not None:
        assert flops["matmul_3x"] == pytest.approx(matmul, rel=5e-4)


def test_the_other_models_of_the_script() -> None:
    base = training_flops(pair(BASE, 1 / 3), 512, 256, 766_000)["electra_paper"]
    large = training_flops(pair(LARGE, 0.25), 512, 2048, 400_000)["electra_paper"]
    bert = 2 * 256 * 1e6 * forward_flops(BASE, 512, "generator", "electra_paper")
    assert base == pytest.approx(6.425e19, rel=5e-4)
    assert large == pytest.approx(7.118e20, rel=5e-4)
    assert bert == pytest.approx(6.428e19, rel=5e-4)


def test_inference_of_one_input() -> None:
    # 3.7e9 in the paper, Table 1.
    assert forward_flops(SMALL, 128, "discriminator", "electra_paper") == pytest.approx(3.68e9, rel=2e-3)


def test_matrix_products_counted_by_hand() -> None:
    config = ElectraConfig(11, 3, 4, 2, 1, 5)
    length = 20
    layer = 2 * 4 * 12 + 2 * 4 * 4 + 2 * 4 * length * 2 + 2 * 2 * 4 * 5
    body = length * (2 * layer + 2 * 3 * 4)
    assert forward_flops(config, length, "discriminator", "matmul_3x") == body + length * (2 * 4 * 4 + 2 * 4)
    predicted = 3  # 15 % of 20
    assert forward_flops(config, length, "generator", "matmul_3x") == body + predicted * (2 * 4 * 3 + 2 * 3 * 11)


def test_steps_before_the_generator_cost_only_the_discriminator() -> None:
    networks = pair(SMALL, 0.25)
    for convention, factor in (("electra_paper", 2), ("matmul_3x", 3)):
        saved = (
            training_flops(networks, 128, 8, 100)[convention]  # type: ignore[index]
            - training_flops(networks, 128, 8, 100, joint_from=30)[convention]  # type: ignore[index]
        )
        expected = factor * 8 * 30 * forward_flops(networks.generator.config, 128, "generator", convention)  # type: ignore[arg-type]
        assert saved == pytest.approx(expected)


def test_petaflop_s_days() -> None:
    assert petaflop_s_days(8.64e19) == pytest.approx(1.0)
