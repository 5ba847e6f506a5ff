"""The classifier, its heads and what they are trained on, against `transformers`."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from electralab.electra.convert import encoder_state, huggingface_config
from electralab.electra.encoder import ElectraConfig, Encoder
from electralab.finetune.encoder.classifier import Classifier, with_dropout
from electralab.finetune.encoder.huggingface import save_classifier
from electralab.finetune.objective import Classification, Regression

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


def huggingface_classifier(classifier, outputs):
    """Hugging Face's model with the weights of ours."""
    from transformers import ElectraConfig as HuggingFaceConfig
    from transformers import ElectraForSequenceClassification

    shape = huggingface_config(SHAPE, "ElectraForSequenceClassification")
    reference = ElectraForSequenceClassification(HuggingFaceConfig(**shape, num_labels=outputs))
    head = {f"classifier.{name}": weight for name, weight in classifier.head.state_dict().items()}
    reference.load_state_dict(encoder_state(classifier.encoder) | head)
    return reference


def scrambled(classifier):
    """Weights large enough that a wrong activation or a missing layer shows."""
    for parameter in classifier.parameters():
        nn.init.normal_(parameter, std=0.3)
    return classifier


def test_the_huggingface_head_is_that_of_electra_for_sequence_classification():
    torch.manual_seed(0)
    classifier = scrambled(Classifier(Encoder(SHAPE), 3, "cls", 0.0, "huggingface"))
    input_ids, mask, types, labels = padded_batch()
    expected = huggingface_classifier(classifier, 3)(
        input_ids, attention_mask=mask.long(), token_type_ids=types, labels=labels
    )
    logits = classifier(input_ids, mask, types)
    assert logits.std() > 0.1
    torch.testing.assert_close(logits, expected.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(Classification(3).loss(logits, labels), expected.loss, atol=1e-5, rtol=0)


def test_a_regression_to_raw_scores_is_trained_as_transformers_trains_it():
    """One label makes `ElectraForSequenceClassification` a regression with squared error."""
    torch.manual_seed(0)
    classifier = scrambled(Classifier(Encoder(SHAPE), 1, "cls", 0.0, "huggingface"))
    input_ids, mask, types, _ = padded_batch()
    scores = torch.tensor([0.0, 2.5, 5.0, 3.8], dtype=torch.float64)
    expected = huggingface_classifier(classifier, 1)(
        input_ids, attention_mask=mask.long(), token_type_ids=types, labels=scores.float()
    )
    logits = classifier(input_ids, mask, types)
    torch.testing.assert_close(Regression().loss(logits, scores), expected.loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(Regression().answers(logits), expected.logits[:, 0].double(), atol=1e-5, rtol=1e-5)


def test_a_regression_to_unit_targets_answers_in_scores():
    """Google's code divides STS-B's scores by 5; at the right answer the loss is 0."""
    unit, scores = Regression(offset=0.0, scale=5.0), torch.tensor([0.0, 2.5, 5.0], dtype=torch.float64)
    right = torch.tensor([[0.0], [0.5], [1.0]])
    assert unit.loss(right, scores).item() == 0.0
    assert unit.answers(right).tolist() == scores.tolist()
    assert unit.loss(right + 0.1, scores).item() == pytest.approx(0.01)
    shifted = Regression(offset=-1.0, scale=2.0)  # scores from -1 to 1
    assert shifted.answers(right).tolist() == [-1.0, 0.0, 1.0]
    assert shifted.loss(right, shifted.answers(right)).item() == 0.0


def test_both_heads_drop_out_in_training_only_and_huggingfaces_twice():
    torch.manual_seed(0)
    for head, dropouts in (("linear", 1), ("huggingface", 2)):
        classifier = Classifier(Encoder(SHAPE), 3, "cls", 0.5, head)
        own = [module for name, module in classifier.named_modules() if name in ("dropout", "head.dropout")]
        assert [module.p for module in own] == [0.5] * dropouts
        input_ids, mask, types, _ = padded_batch()
        first, second = (classifier(input_ids, mask, types) for _ in range(2))
        assert not torch.equal(first, second)
        first, second = (classifier.eval()(input_ids, mask, types) for _ in range(2))
        assert torch.equal(first, second)


@pytest.mark.parametrize("head", ["linear", "huggingface"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_does_not_change_the_answer(pooling, head):
    torch.manual_seed(0)
    classifier = Classifier(Encoder(SHAPE), 3, pooling, 0.0, head).eval()
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


REOPEN = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

answers = []
for cell in json.load(sys.stdin):
    ids, mask, types = (torch.tensor(cell[name]) for name in ("ids", "mask", "types"))
    whole = cell["read"] == "sequence"
    auto = AutoModelForSequenceClassification if whole else AutoModelForTokenClassification
    model, notes = auto.from_pretrained(cell["folder"], output_loading_info=True)
    assert not any(notes.values()), notes
    with torch.no_grad():
        logits = model.eval()(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
    if not whole:
        rows = [row[:int(real.sum())] for row, real in zip(logits, mask)]
        logits = torch.stack([row[0] if cell["read"] == "first_token" else row.mean(0) for row in rows])
    answers.append(logits.tolist())
print(json.dumps(answers))
"""


def test_a_saved_classifier_opens_in_transformers_in_a_new_process(tmp_path):
    input_ids, mask, types, _ = padded_batch()
    cells, expected = [], []
    for head, pooling, outputs, read in (
        ("linear", "cls", 3, "sequence"),  # a linear layer as one with GELU before it
        ("linear", "cls", 17, "first_token"),  # more classes than half of the width
        ("linear", "mean", 1, "mean_over_tokens"),
        ("linear", "cls", 1, "sequence"),
        ("huggingface", "cls", 2, "sequence"),
    ):
        torch.manual_seed(0)
        model = Classifier(Encoder(SHAPE), outputs, pooling, dropout=0.1, head=head).eval()
        folder = tmp_path / f"{head}-{pooling}-{outputs}"
        objective = Regression(1.0, 5.0) if outputs == 1 else Classification(outputs)
        labels = [f"class {number}" for number in range(outputs)] if outputs > 1 else []
        assert save_classifier(folder, model, labels, objective) == read
        with torch.no_grad():
            logits = model(input_ids, mask, types)
            expected.append(1.0 + 5.0 * logits if outputs == 1 else logits)
        batch = {"ids": input_ids.tolist(), "mask": mask.long().tolist(), "types": types.tolist()}
        cells.append({"read": read, "folder": str(folder), **batch})
    result = subprocess.run(
        [sys.executable, "-c", REOPEN],
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert result.returncode == 0, result.stderr
    for logits, found in zip(expected, json.loads(result.stdout.splitlines()[-1])):
        torch.testing.assert_close(torch.tensor(found), logits, atol=1e-5, rtol=0)
