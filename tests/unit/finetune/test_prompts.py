"""Templates and label words."""

from __future__ import annotations

import dataclasses
import string
from pathlib import Path

import pytest
import transformers
from tiny_decoder import KINDS, edit_config, task, write_decoder, write_tokenizer

from electralab.data.bundled import TASKS
from electralab.data.example import Example
from electralab.data.glue import GLUE
from electralab.errors import UserError
from electralab.finetune.decoder.prompts import TEMPLATES, PromptTokenizer, template_of

ROW = Example("7", "the text {pair}", "the pair", 1)


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_glue_and_bundled_task_has_a_template_that_reads_all_of_a_row() -> None:
    described = {name: (glue.labels, glue.layouts[0].pair) for name, glue in GLUE.items() if glue.labels}
    described |= {name: (bundled.labels, name != "movie_sentiment") for name, bundled in TASKS.items()}
    assert set(TEMPLATES) == set(described)
    for name, (labels, pair) in described.items():
        template = TEMPLATES[name]
        assert len(template.words) == len(set(template.words)) == len(labels)
        assert fields(template.text) == ({"text", "pair"} if pair else {"text"})
        assert template.text[-1] == ":"  # the space before the answer belongs to the label word


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_words_mean_what_the_labels_say(name: str) -> None:
    labels = GLUE[name].labels if name in GLUE else TASKS[name].labels
    refuses = {"unacceptable", "negative", "contradiction", "no"}
    for label, word in zip(labels, TEMPLATES[name].words):
        denies = label in refuses or label.startswith(("not", "does not"))
        unsure = label == "neutral"
        assert word in ({"No", "negative"} if denies else {"Maybe"} if unsure else {"Yes", "positive"})


def test_text_is_put_in_as_it_is() -> None:
    prompt = TEMPLATES["mrpc"].prompt(ROW)
    assert prompt.startswith("Sentence 1: the text {pair}\nSentence 2: the pair\n")
    assert TEMPLATES["mrpc"].solved(ROW) == f"{prompt} Yes"
    assert TEMPLATES["sst2"].solved(Example("1", "fine", None, 0)) == "Review: fine\nSentiment: negative"


def test_a_task_is_known_by_its_glue_name_or_as_the_bundled_one() -> None:
    rows = [Example("1", "a", None, 0)]
    assert template_of(task(rows, rows)) == TEMPLATES["sst2"]
    mine = dataclasses.replace(task(rows, rows, glue=None, labels=TASKS["boolq"].labels), name="boolq")
    assert template_of(mine) == TEMPLATES["boolq"]
    other = dataclasses.replace(mine, labels=["a", "b", "c"])  # somebody else's task of that name
    assert template_of(other).words == ("A", "B", "C")


def test_any_other_task_offers_its_labels_as_options() -> None:
    single, pair = Example("1", "a", None, 0), Example("1", "a", "b", 1)
    template = template_of(task([single], [single], glue=None, labels=("{x}", "as written")))
    assert template.solved(single) == "Text: a\nOptions: A = {x}, B = as written\nAnswer: A"
    template = template_of(task([pair], [pair], glue=None))
    assert template.solved(pair) == "Text 1: a\nText 2: b\nOptions: A = no, B = yes\nAnswer: B"


def test_scores_have_no_words() -> None:
    scores = dataclasses.replace(task([ROW], [ROW], glue="stsb", labels=()), score_range=(0.0, 5.0))
    with pytest.raises(UserError, match="scores from 0 to 5 and no classes"):
        template_of(scores)
    many = task([ROW], [ROW], glue=None, labels=tuple(map(str, range(27))))
    with pytest.raises(UserError, match="27 classes"):
        template_of(many)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    ours = PromptTokenizer(write_decoder(tmp_path, kind))
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    prompts = ["Review: bad film ünï 漢字\nSentiment:", "", "  two  spaces\n\n", "Question"]
    opening = [2] if kind == "opt" else []  # </s>, as every document that OPT was trained on begins
    assert ours.encode(prompts) == [opening + theirs(prompt)["input_ids"] for prompt in prompts]
    assert (ours.pad_id, ours.padded_with_eos) == (1, False)


def test_a_special_token_in_a_text_is_text(tmp_path: Path) -> None:
    tokenizer = PromptTokenizer(write_decoder(tmp_path, "llama"))
    assert not {0, 1, 2} & set(tokenizer.encode(["a </s> <pad>"])[0])


def test_a_tokenizer_that_opens_texts_is_followed(tmp_path: Path) -> None:
    """Llama 2 and 3 begin with their BOS, SmolLM2 does not: `tokenizer.json` says so."""
    from tokenizers import processors

    folder = write_decoder(tmp_path, "llama", bos_token_id=0)
    tokenizer = write_tokenizer(folder)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(folder / "tokenizer.json"))
    assert PromptTokenizer(folder).encode(["good"])[0][0] == 0


def test_a_label_word_is_the_token_that_follows_the_template(tmp_path: Path) -> None:
    tokenizer = PromptTokenizer(write_decoder(tmp_path))
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    for template in TEMPLATES.values():
        expected = [theirs.convert_tokens_to_ids(f"Ġ{word}") for word in template.words]
        assert tokenizer.label_ids(template) == expected and None not in expected


def test_the_published_prompt_ends_with_the_space_and_a_bare_word_follows(tmp_path: Path) -> None:
    """`src/prompts/qqp.py` and `src/models/opt.py` of snigdhav03/CS-7643-Deep-Learning."""
    published = (
        "Question 1: the text {pair}\nQuestion 2: the pair\nQuestion: Do both questions ask the same thing? Answer: "
    )
    template = template_of(task([ROW], [ROW], glue="qqp"), "as_published")
    assert template.prompt(ROW) == published
    assert template.solved(ROW) == f"{published}Yes" == TEMPLATES["qqp"].solved(ROW)
    tokenizer = PromptTokenizer(write_decoder(tmp_path))
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    bare = [theirs.convert_tokens_to_ids(word) for word in ("No", "Yes")]
    assert tokenizer.label_ids(template) == bare and None not in bare
    assert tokenizer.encode([template.prompt(ROW)])[0][-1] == theirs.convert_tokens_to_ids("Ġ")


def test_the_first_of_several_ends_of_a_text_fills_up(tmp_path: Path) -> None:
    """Llama 3 names several; -1 is how the first Llama says that it has no padding token."""
    edit_config(write_decoder(tmp_path, "llama"), pad_token_id=-1, eos_token_id=[2, 0])
    tokenizer = PromptTokenizer(tmp_path)
    assert (tokenizer.pad_id, tokenizer.padded_with_eos) == (2, True)
