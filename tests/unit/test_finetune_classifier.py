"""The classifier against `transformers`, and its rates against the paper's formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from electralab.electra.convert import encoder_state, huggingface_config
from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.finetune.classifier import Classifier, with_dropout
from electralab.finetune.layerwise import build_optimizer, decay_exponent, linear_schedule, set_learning_rate

SHAPE = ElectraConfig(
    vocab_size=60,
    embedding_size=16,
    hidden_size=32,
    layers=3,
    attention_heads=4,
    intermediate_size=48,
    max_positions=24,
    hidden_dropout=0.0,
    attention_dropout=0.0,
)


def padded_batch():
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([7, 12, 3, 12])
    mask = torch.arange(12) < lengths[:, None]
    input_ids = torch.randint(5, 60, (4, 12), generator=generator) * mask
    types = ((torch.arange(12) >= 3) & mask).long()
    return input_ids, mask, types, torch.tensor([0, 2, 1, 1])


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_loss_and_gradients_equal_transformers_electra_with_a_linear_head(pooling):
    from transformers import ElectraConfig as HuggingFaceConfig
    from transformers import ElectraModel

    torch.manual_seed(0)
    classifier = Classifier(Encoder(SHAPE), 3, pooling, dropout=0.0)
    reference = ElectraModel(HuggingFaceConfig(**huggingface_config(SHAPE, "ElectraModel")))
    weights = encoder_state(classifier.encoder)
    reference.load_state_dict({name.removeprefix("electra."): weight for name, weight in weights.items()})
    head = nn.Linear(32, 3)
    head.load_state_dict(classifier.head.state_dict())

    input_ids, mask, types, labels = padded_batch()
    hidden = reference(input_ids, attention_mask=mask.long(), token_type_ids=types).last_hidden_state
    if pooling == "cls":
        pooled = hidden[:, 0]
    else:
        pooled = torch.stack([row[: int(real.sum())].mean(dim=0) for row, real in zip(hidden, mask)])
    expected = F.cross_entropy(head(pooled), labels)
    actual = F.cross_entropy(classifier(input_ids, mask, types), labels)
    assert actual.item() == pytest.approx(expected.item(), abs=1e-6)

    expected.backward()
    actual.backward()
    ours, theirs = classifier.encoder.embeddings.word.weight, reference.embeddings.word_embeddings.weight
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(classifier.head.weight.grad, head.weight.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_does_not_change_the_answer(pooling):
    torch.manual_seed(0)
    classifier = Classifier(Encoder(SHAPE), 3, pooling, dropout=0.0).eval()
    input_ids, mask, types, _ = padded_batch()
    together = classifier(input_ids, mask, types)
    for row in range(4):
        length = int(mask[row].sum())
        alone = classifier(input_ids[row : row + 1, :length], None, types[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone)


def test_dropout_of_the_method_replaces_that_of_pretraining():
    copied = with_dropout(Encoder(SHAPE), 0.25)
    rates = [module.p for module in copied.modules() if isinstance(module, nn.Dropout)]
    assert len(rates) == 1 + SHAPE.layers and set(rates) == {0.25}
    assert {layer.attention_dropout for layer in copied.layers} == {0.25}


def test_dropout_copy_shares_values_but_not_memory():
    encoder = Encoder(SHAPE)
    copied = with_dropout(encoder, 0.1)
    before = encoder.embeddings.word.weight.clone()
    assert torch.equal(copied.embeddings.word.weight, before)
    with torch.no_grad():
        copied.embeddings.word.weight.add_(1)
    assert torch.equal(encoder.embeddings.word.weight, before)


@settings(deadline=None)
@given(st.floats(1e-5, 1e-2), st.floats(0.1, 1.0), st.integers(1, 4))
def test_first_update_moves_every_parameter_by_the_rate_of_its_layer(rate, decay, layers):
    """Adam's first step is rate x sign(gradient), so the rates are read off the weights themselves."""
    torch.manual_seed(0)
    shape = ElectraConfig(60, 16, 32, layers, 4, 48, max_positions=24)
    classifier = Classifier(Encoder(shape), 2, "cls", 0.0).double()
    before = {name: parameter.detach().clone() for name, parameter in classifier.named_parameters()}
    optimizer = build_optimizer(classifier, rate, decay, weight_decay=0.0)
    for parameter in classifier.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()

    def expected(name):
        if name.startswith("head"):
            return rate
        if name.startswith("encoder.embeddings"):  # embeddings_project too
            return rate * decay ** (layers + 1)
        return rate * decay ** (layers - int(name.split(".")[2]))

    for name, parameter in classifier.named_parameters():
        moved = (before[name] - parameter.detach()).mean().item()
        assert moved == pytest.approx(expected(name), rel=1e-4), name


def test_exponents_of_a_twelve_layer_model():
    names = {
        "head.weight": 0,
        "encoder.layers.11.qkv.weight": 1,
        "encoder.layers.1.qkv.weight": 11,
        "encoder.layers.0.output.bias": 12,
        "encoder.embeddings.word.weight": 13,
        "encoder.embeddings_project.weight": 13,
    }
    assert {name: decay_exponent(name, 12) for name in names} == names


def test_weight_decay_spares_layernorm_and_biases_and_every_parameter_is_in_one_group():
    classifier = Classifier(Encoder(SHAPE), 2, "cls", 0.1)
    optimizer = build_optimizer(classifier, 1e-3, 0.8, weight_decay=0.01)
    decay = {id(parameter): group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}
    assert (
        sum(len(group["params"]) for group in optimizer.param_groups)
        == len(decay)
        == len(list(classifier.parameters()))
    )
    norms = {id(p) for module in classifier.modules() if isinstance(module, nn.LayerNorm) for p in module.parameters()}
    for name, parameter in classifier.named_parameters():
        spared = id(parameter) in norms or name.endswith("bias")
        assert decay[id(parameter)] == (0.0 if spared else 0.01), name


@settings(deadline=None)
@given(st.integers(1, 60), st.floats(0, 0.9))
def test_schedule_is_that_of_transformers(steps, warmup_fraction):
    from transformers import get_linear_schedule_with_warmup

    warmup = int(warmup_fraction * steps)
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = get_linear_schedule_with_warmup(reference, warmup, steps)
    classifier = nn.Linear(1, 1)
    ours = torch.optim.AdamW([{"params": classifier.parameters(), "peak": 0.3}])
    for step in range(steps):
        set_learning_rate(ours, linear_schedule(step, steps, warmup))
        assert ours.param_groups[0]["lr"] == pytest.approx(0.3 * schedule.get_last_lr()[0], abs=1e-12)
        reference.step()
        schedule.step()
