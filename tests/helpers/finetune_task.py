"""Tasks of 400 rows that a tiny network can learn, and the runs that learn them."""

import csv
import hashlib
import json
import random

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from electralab.config import FullFinetuning, Shape
from electralab.methods.run import Inputs, run_job
from electralab.specs import RandomInit, RunSpec

WORDS = [f"w{number}" for number in range(30)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SHAPE = Shape(
    layers=1, hidden_size=32, embedding_size=16, attention_heads=2, intermediate_size=32, max_positions=32, head_size=16
)


def write_tokenizer(folder):
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(
        models.WordPiece({piece: number for number, piece in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL)
    (folder / "tokenizer_config.json").write_text(json.dumps({f"{role}_token": token for role, token in roles}))
    return folder / "tokenizer.json"


def draw_row(generator, labels, pair):
    """Label 1 = the word w1 is there (in the pair, if there is one) and w2 is not; w1 or w2 always is.

    With labels `scores`, the score is the number of w1 among five words w1 or w2. With `unrelated`, every row is the
    same text.
    """
    if labels == "unrelated":
        return {"text": "w1 w2 w3", "pair": None, "label": generator.randrange(6)}
    words = generator.choices(WORDS[3:], k=generator.randrange(3, 12))
    if labels == "scores":
        label = generator.randrange(6)
        for word in [WORDS[1]] * label + [WORDS[2]] * (5 - label):
            words.insert(generator.randrange(len(words)), word)
    else:
        label = generator.randrange(2)
        words.insert(generator.randrange(len(words)), WORDS[2 - label])
        label = {"words": label, "shuffled": generator.randrange(2), "skewed": int(generator.random() < 0.9)}[labels]
    text, other = " ".join(words), " ".join(generator.choices(WORDS[3:], k=4))
    return {"text": other if pair else text, "pair": text if pair else None, "label": label}


def write_task(folder, labels="words", pair=False, more=(), official=None, **fields):
    """A task of 400 rows, and 200 in every other split; `test` has no labels."""
    folder.mkdir(parents=True)
    generator = random.Random(0)
    splits = {}
    for split in ("train", "validation", *more):
        rows = [
            {"id": f"{split}-{n}", **draw_row(generator, labels, pair)} for n in range(200 + 200 * (split == "train"))
        ]
        if split == "test":
            rows = [{**row, "label": None} for row in rows]
        path = folder / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        splits[split] = {"rows": len(rows), "official_rows": (official or {}).get(split), "sha256": checksum}
    scores = labels in ("scores", "unrelated")
    manifest = {
        "name": "toy",
        "labels": [] if scores else ["no", "yes"],
        "metrics": ["spearman", "pearson"] if scores else ["accuracy", "f1"],
        "score_range": [0.0, 5.0] if scores else None,
        "unordered": False,
        "glue": None,
        "synthetic": True,
        "sources": [],
        "splits": splits,
        "notes": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | fields))
    return folder / "manifest.json"


def reworded(folder, split, change):
    """Change the texts of a split, whose checksum follows; a row that becomes None is left out."""
    path, manifest = folder / f"{split}.jsonl", folder / "manifest.json"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row | {"text": text} for row in rows if (text := change(row["text"])) is not None]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = json.loads(manifest.read_text())
    content["splits"][split] |= {"rows": len(rows), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(content))
    return manifest


def make_spec(seed=0, random_init=True, **settings):
    defaults = {"learning_rates": [1e-2], "epochs": 6, "batch_size": 16, "max_length": 24, "layerwise_lr_decay": 1.0}
    return RunSpec(
        model="toy_random" if random_init else "toy-g25",
        task="toy",
        chain=["full"],
        seed=seed,
        settings=FullFinetuning(**defaults | settings),
        random_init=RandomInit(shape=SHAPE, initialization="normal", sequence_length=32) if random_init else None,
        extensions=[],
        pretraining_recipe="paper",
    )


def run(spec, inputs, folder, task="words", model=None):
    """The record of a run, finished or not."""
    return run_job(spec, folder / "run.json", Inputs(inputs[task], model, inputs["tokenizer"]))


def read_predictions(folder, name="predictions.csv"):
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))
