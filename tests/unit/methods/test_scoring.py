"""Whole fine-tuning runs on a task of 400 rows."""

import gc
import hashlib
import json
import weakref

import numpy as np
import pytest
import torch
from finetune_task import SHAPE, SPECIAL, WORDS, make_spec, read_predictions, run, write_task, write_tokenizer
from pretraining_record import write_pretraining_record
from sklearn.metrics import accuracy_score

from electralab.config import LinearProbe, Pretraining
from electralab.electra.convert import load_encoder
from electralab.finetune.encoder.start import starting_encoder
from electralab.methods import training
from electralab.methods.full import WholeEncoder
from electralab.methods.run import Inputs, run_job
from electralab.pretrain.setup import build_pair
from electralab.records import read_record
from electralab.specs import PretrainSpec
from electralab.tokens.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("finetune")
    return {
        "tokenizer": write_tokenizer(root / "tokenizer"),
        "words": write_task(root / "words"),
        "pairs": write_task(root / "pairs", pair=True),
        "shuffled": write_task(root / "shuffled", labels="shuffled"),
        "skewed": write_task(root / "skewed", labels="skewed"),
    }


@pytest.mark.parametrize("task", ["words", "pairs"])
@pytest.mark.parametrize(("pooling", "head"), [("cls", "linear"), ("mean", "linear"), ("mean", "huggingface")])
def test_a_learnable_task_is_learnt(inputs, tmp_path, task, pooling, head):
    record = run(make_spec(pooling=pooling, head=head), inputs, tmp_path, task)
    assert record.metrics["accuracy"] > 0.9
    assert record.metrics["score"] == record.metrics["accuracy"]
    assert record.metrics["degenerate"] == 0.0


def test_shuffled_labels_are_not_learnt(inputs, tmp_path):
    """The validation rows are not seen in training: chance is .5 with a standard error of .035."""
    metrics = run(make_spec(), inputs, tmp_path, "shuffled").metrics
    assert 0.36 < metrics["accuracy"] < 0.64


def test_the_record_is_complete_and_agrees_with_the_predictions(inputs, tmp_path):
    spec = make_spec(max_train_rows=96, epochs=2)
    record = run(spec, inputs, tmp_path)
    assert read_record(tmp_path / "run.json") == record
    rows = read_predictions(tmp_path)
    labels, predictions = ([row[name] for row in rows] for name in ("label", "prediction"))
    assert record.metrics["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    assert [row["id"] for row in rows] == [f"validation-{number}" for number in range(200)]
    scores = np.array([[float(row["score_no"]), float(row["score_yes"])] for row in rows])
    assert scores.sum(axis=1) == pytest.approx(np.ones(200), abs=1e-5)
    assert [("no", "yes")[number] for number in scores.argmax(axis=1)] == predictions
    assert (record.primary_metric, record.glue, record.recipe) == ("accuracy", None, "paper")
    assert not {"official_train_rows", "official_validation_rows"} & set(record.metrics)
    expected = {"train_rows": 96, "validation_rows": 200, "tuning_rows": 0, "learning_rate": 1e-2, "epochs": 2}
    assert {name: record.metrics[name] for name in expected} == expected
    assert (record.stage, record.model, record.task, record.synthetic) == ("run", "toy_random", "toy", True)
    assert record.spec == spec.model_dump(mode="json")
    # Embeddings (35 + 32 + 2) x 16 and LayerNorm, projection to 32, one layer, head to 2 labels.
    layer = 4 * (32 * 32 + 32) + 2 * (32 * 32 + 32) + 2 * 64
    assert record.cost.parameters["total"] == (35 + 32 + 2) * 16 + 32 + 16 * 32 + 32 + layer + 32 * 2 + 2
    assert set(record.provenance.data) == {"task", "tokenizer", "model"}


def test_tokens_are_those_read_in_training(inputs, tmp_path):
    words = [len(json.loads(line)["text"].split()) for line in (inputs["words"].with_name("train.jsonl")).open()]
    record = run(make_spec(epochs=3), inputs, tmp_path)
    assert record.cost.tokens == 3 * sum(length + 2 for length in words)


def test_one_seed_decides_everything(inputs, tmp_path):
    specs = {"first": make_spec(0), "again": make_spec(0), "other": make_spec(1)}
    for name, spec in specs.items():
        torch.rand(3)  # the state that earlier code left behind must not matter
        run(spec, inputs, tmp_path / name)
    files = {name: (tmp_path / name / "predictions.csv").read_bytes() for name in specs}
    assert files["first"] == files["again"] != files["other"]


def test_the_rate_is_chosen_on_training_rows_only(inputs, tmp_path):
    """1e-7 learns nothing in these steps, so 1e-2 must win wherever it stands; the validation split is not asked."""
    for rates in ([1e-7, 1e-2], [1e-2, 1e-7]):
        metrics = run(make_spec(learning_rates=rates), inputs, tmp_path).metrics
        assert metrics["learning_rate"] == 1e-2
        assert metrics["tuning_accuracy_at_0.01"] > 0.9 > metrics["tuning_accuracy_at_1e-07"]
        assert (metrics["train_rows"], metrics["tuning_rows"]) == (360, 40)
        assert metrics["accuracy"] > 0.9
    record = read_record(tmp_path / "run.json")
    assert "0.01" in record.notes[0]


def test_a_trial_reads_no_validation_row(tmp_path):
    """Whatever stands there, its numbers are the same; it is scored on a tenth of the training rows."""
    answers = []
    for name in ("one", "other"):
        manifest = write_task(tmp_path / name / "task")
        if name == "other":
            content = json.loads(manifest.read_text())
            validation = manifest.with_name("validation.jsonl")
            validation.write_text(json.dumps({"id": "x", "text": "w9", "pair": None, "label": 1}) + "\n")
            content["splits"]["validation"]["sha256"] = hashlib.sha256(validation.read_bytes()).hexdigest()
            manifest.write_text(json.dumps(content))
        inputs = {"tokenizer": write_tokenizer(tmp_path / name / "tokenizer"), "words": manifest}
        spec = make_spec(epochs=1, max_train_rows=360, save_model=False).model_copy(update={"scored_on": "tuning"})
        record = run(spec, inputs, tmp_path / name)
        assert (record.metrics["train_rows"], record.metrics["validation_rows"]) == (360, 40)
        answers.append(read_predictions(tmp_path / name))
    assert answers[0] == answers[1]
    tuning = {row["id"] for row in answers[0]}
    assert len(tuning) == 40 and all(number.startswith("train-") for number in tuning)


@pytest.mark.parametrize(("rates", "epochs"), [([1e-2], [1, 2]), ([1e-2, 1e-3], [1, 2, 3, 4, 5])])
def test_every_epoch_but_the_last_is_reported_once(inputs, tmp_path, rates, epochs):
    """The last is the run's own score, which is never thrown away; a second rate counts on."""
    reported = []
    record = run_job(
        make_spec(epochs=3, learning_rates=rates, save_model=False),
        tmp_path / "run.json",
        Inputs(inputs["words"], None, inputs["tokenizer"]),
        after_epoch=lambda epoch, score: reported.append((epoch, score)),
    )
    assert [epoch for epoch, _ in reported] == epochs
    kept = {name: score for name, score in record.metrics.items() if name.startswith("score_after_epoch_")}
    assert kept == {f"score_after_epoch_{epoch}": score for epoch, score in reported}


def test_the_model_of_a_rejected_rate_is_let_go(inputs, tmp_path, monkeypatch):
    """When the third rate starts, the best of the first two is alone in memory."""
    made, alive = [], []
    fresh = WholeEncoder.fresh

    def watched(self, steps):
        gc.collect()
        alive.append(sum(model() is not None for model in made))
        model = fresh(self, steps)
        made.append(weakref.ref(model))
        return model

    monkeypatch.setattr(WholeEncoder, "fresh", watched)
    run(make_spec(learning_rates=[1e-3, 1e-2, 1e-7, 1e-8], epochs=1), inputs, tmp_path)
    assert alive == [0, 1, 1, 1]


def test_peak_memory_is_read_before_the_model_is_copied_and_timed(inputs, tmp_path, monkeypatch):
    steps = []

    def noted(name, function):
        def noting(*arguments):
            steps.append(name)
            return function(*arguments)

        return noting

    monkeypatch.setattr(training, "train_best", noted("train", training.train_best))
    monkeypatch.setattr(training, "peak_bytes", noted("peak", lambda _: {"peak_rss_bytes": 7}))
    monkeypatch.setattr(WholeEncoder, "keep", noted("keep", WholeEncoder.keep))
    assert run(make_spec(epochs=1), inputs, tmp_path).cost.peak_rss_bytes == 7
    assert steps == ["train", "peak", "keep"]


def test_a_run_that_answers_one_class_is_flagged_and_says_so(inputs, tmp_path):
    """Labels that nothing predicts, nine of ten the same: always answering that one is all there is to learn."""
    record = run(make_spec(epochs=2, learning_rates=[1e-3]), inputs, tmp_path, "skewed")
    assert {row["prediction"] for row in read_predictions(tmp_path)} == {"yes"}
    assert record.metrics["degenerate"] == 1.0
    assert record.metrics["accuracy"] == record.metrics["majority_rate"]
    assert "same class" in record.notes[0]


def test_a_pretrained_discriminator_is_loaded_and_read_as_transformers_reads_it(inputs, tmp_path):
    """At a rate of 1e-12 nothing moves, so the scores are those of the saved model under a head drawn by the seed."""
    from transformers import ElectraConfig, ElectraForPreTraining

    torch.manual_seed(5)
    config = ElectraConfig(
        vocab_size=len(SPECIAL + WORDS),
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    reference = ElectraForPreTraining(config).eval()
    folder = tmp_path / "pretrained" / "discriminator"
    reference.save_pretrained(folder)
    spec = make_spec(seed=3, random_init=False, learning_rates=[1e-12], epochs=1, max_length=32)
    vouching = write_pretraining_record(tmp_path / "pretrained")
    record = run(spec, inputs, tmp_path / "finetuned", "pairs", model=vouching)

    torch.manual_seed(3)
    head = torch.nn.Linear(32, 2)
    torch.nn.init.xavier_uniform_(head.weight)
    torch.nn.init.zeros_(head.bias)
    identify = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    lines = inputs["pairs"].with_name("validation.jsonl").read_text().splitlines()
    for line, row in zip(lines, read_predictions(tmp_path / "finetuned")):
        text, pair = (json.loads(line)[name].split() for name in ("text", "pair"))
        ids = [identify[word] for word in ["[CLS]", *text, "[SEP]", *pair, "[SEP]"]]
        types = [0] * (len(text) + 2) + [1] * (len(pair) + 1)
        with torch.no_grad():
            hidden = reference.electra(torch.tensor([ids]), token_type_ids=torch.tensor([types])).last_hidden_state
            expected = head(hidden[:, 0]).softmax(dim=-1)[0]
        assert [float(row["score_no"]), float(row["score_yes"])] == pytest.approx(expected.tolist(), abs=1e-5)
    weights = (folder / "model.safetensors").read_bytes()
    assert record.provenance.data["model"] == hashlib.sha256(weights).hexdigest()


def test_the_trained_model_is_kept(inputs, tmp_path):
    """Read by `transformers`, it gives the scores that the run wrote."""
    from transformers import ElectraForSequenceClassification

    run(make_spec(head="huggingface", epochs=1), inputs, tmp_path, "words")
    model = ElectraForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    identify = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    lines = inputs["words"].with_name("validation.jsonl").read_text().splitlines()
    for line, row in zip(lines, read_predictions(tmp_path)):
        ids = [identify[word] for word in ["[CLS]", *json.loads(line)["text"].split(), "[SEP]"]]
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0].softmax(dim=-1)
        assert [float(row["score_no"]), float(row["score_yes"])] == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_linear_probe_trains_one_linear_layer_alone(inputs, tmp_path):
    """Its logits are an affine function of the first token's state in the model before training, of 32 numbers."""
    from transformers import AutoModel, AutoModelForSequenceClassification

    settings = LinearProbe(learning_rates=[1e-2], epochs=2, batch_size=16, max_length=24)
    record = run(make_spec().model_copy(update={"settings": settings}), inputs, tmp_path)
    counts = {name: record.metrics[f"{name}_parameters"] for name in ("trainable", "head", "base")}
    assert counts == {"trainable": 66, "head": 66, "base": record.cost.parameters["total"]}
    assert record.metrics["weights_bytes"] == 4 * (counts["base"] - 66)

    before, _ = starting_encoder(make_spec(), load_tokenizer(inputs["tokenizer"]), None)
    after, _ = load_encoder(tmp_path / "model")
    assert all(torch.equal(weight, after.state_dict()[name]) for name, weight in before.state_dict().items())
    body = AutoModel.from_pretrained(tmp_path / "model").eval()
    whole = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    ids = torch.tensor([[2, *np.random.default_rng(row).integers(5, 35, size=8), 3] for row in range(200)])
    with torch.no_grad():
        states, logits = body(ids).last_hidden_state[:, 0], whole(ids).logits
    affine = torch.cat([states, torch.ones(200, 1)], dim=1).double()
    residual = logits.double() - affine @ torch.linalg.lstsq(affine, logits.double()).solution
    assert residual.abs().max() < 1e-5 < logits.std()


def test_the_untrained_control_is_the_discriminator_of_a_pretraining_before_its_first_step(inputs):
    pretraining = Pretraining(corpus="toy", tokenizer="toy", discriminator=SHAPE, sequence_length=32)
    tokenizer = load_tokenizer(inputs["tokenizer"])
    unigram = torch.ones(tokenizer.vocab_size)
    for seed in (0, 1):
        spec = PretrainSpec(model="toy-g25", generator_size=0.25, seed=seed, settings=pretraining)
        expected = build_pair(spec, tokenizer.vocab_size, unigram).discriminator.state_dict()
        encoder, _ = starting_encoder(make_spec(seed), tokenizer, None)
        assert all(torch.equal(weight, expected[name]) for name, weight in encoder.state_dict().items())


def test_a_short_run_says_its_last_epoch_once_where_stderr_is_no_terminal(inputs, tmp_path, capsys):
    run(make_spec(epochs=2), inputs, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "epoch 2/2, loss" in lines[0]
