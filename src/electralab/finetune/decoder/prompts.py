"""A task in words: how a row is put to a decoder, and which word stands for which class."""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from electralab.config import Answers
from electralab.data.bundled import TASKS
from electralab.data.example import Example
from electralab.data.tasks import TaskData
from electralab.errors import Unsuitable, UserError
from electralab.files import read_json, sha256


@dataclass(frozen=True)
class Template:
    """A row as a text that ends where the answer comes, and the label words in the order of the classes.

    The answer is written after a space, which belongs to the label word: the vocabularies of GPT-2, OPT and Llama hold
    a word together with the space before it.
    """

    text: str  # with {text} and, for a pair, {pair}
    words: tuple[str, ...]
    gap: str = " "  # between the prompt and the answer

    def prompt(self, example: Example) -> str:
        """The row without its answer."""
        return self.text.format(text=example.text, pair=example.pair or "")

    def solved(self, example: Example) -> str:
        """The row with its answer; it must have a label."""
        assert example.label is not None
        return f"{self.prompt(example)}{self.gap}{self.words[int(example.label)]}"


NO_YES = ("No", "Yes")
SENTIMENT = Template("Review: {text}\nSentiment:", ("negative", "positive"))
ENTAILMENT = "Premise: {text}\nHypothesis: {pair}\nQuestion: Is the hypothesis true, given the premise? Answer:"

# Classes in the order of `electralab/data/glue.py` and `electralab/data/bundled.py`.
TEMPLATES = {
    "cola": Template("Sentence: {text}\nQuestion: Is this sentence grammatical? Answer:", NO_YES),
    "sst2": SENTIMENT,
    "mrpc": Template(
        "Sentence 1: {text}\nSentence 2: {pair}\nQuestion: Do both sentences mean the same thing? Answer:", NO_YES
    ),
    # Wording of snigdhav03/CS-7643-Deep-Learning, `src/prompts/qqp.py`.
    "qqp": Template(
        "Question 1: {text}\nQuestion 2: {pair}\nQuestion: Do both questions ask the same thing? Answer:", NO_YES
    ),
    "mnli": Template(ENTAILMENT, ("Yes", "Maybe", "No")),
    "qnli": Template(
        "Question: {text}\nSentence: {pair}\nDoes the sentence hold the answer to the question? Answer:", ("Yes", "No")
    ),
    "rte": Template(ENTAILMENT, ("Yes", "No")),
    "wnli": Template(ENTAILMENT, NO_YES),
    "movie_sentiment": SENTIMENT,
    "policy_qa": Template("Clause: {pair}\nQuestion: {text}\nDoes the clause answer the question? Answer:", NO_YES),
    "boolq": Template("Passage: {pair}\nQuestion: {text}?\nAnswer:", NO_YES),
}


def template_of(data: TaskData, answers: Answers = "label_words") -> Template:
    """The template of a GLUE or bundled task; for any other task, its labels as options A, B, C and so on.

    As published by snigdhav03/CS-7643-Deep-Learning (`src/prompts/qqp.py`), the prompt ends with the space, and "Yes"
    and "No" behind it are other tokens than " Yes" and " No".

    Raises:
        Unsuitable: the task is a regression, or has more than 26 classes.
    """
    if data.regression:
        raise Unsuitable(
            f"task {data.name} has scores from {data.score_range[0]:g} to {data.score_range[1]:g} and no classes, so "  # type: ignore[index]
            "no word can stand for its answer: give it to an encoder"
        )
    bundled = data.name in TASKS and tuple(data.labels) == TASKS[data.name].labels
    name = data.glue or (data.name if bundled else None)
    template = TEMPLATES[name] if name else _options(data)
    return template if answers == "label_words" else replace(template, text=f"{template.text} ", gap="")


def _options(data: TaskData) -> Template:
    letters = tuple(string.ascii_uppercase[: len(data.labels)])
    if len(letters) < len(data.labels):
        raise Unsuitable(
            f"task {data.name} has {len(data.labels)} classes and a prompt has at most {len(letters)} options"
        )
    lines = ["Text 1: {text}", "Text 2: {pair}"] if any(row.pair for row in data.train) else ["Text: {text}"]
    labels = [label.replace("{", "{{").replace("}", "}}") for label in data.labels]
    options = ", ".join(f"{letter} = {label}" for letter, label in zip(letters, labels))
    return Template("\n".join([*lines, f"Options: {options}", "Answer:"]), letters)


class PromptTokenizer:
    """Prompts to ids, with the token that the model expects in front; text that spells a special token is text.

    A decoder without a padding token is padded with its end-of-text token: `padded_with_eos` says so. Padding is
    masked, so that any token would do.

    Args:
        folder: Hugging Face directory of a decoder: `tokenizer.json` and `config.json`.

    Raises:
        UserError: a file is missing or damaged.
        Unsuitable: there is neither a padding nor an end-of-text token.
    """

    def __init__(self, folder: Path) -> None:
        config, path = read_json(folder / "config.json"), folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: fetch the model again") from None
        except Exception as error:  # `tokenizers` raises the bare Exception class
            raise UserError(f"{path} is not a tokenizer of `tokenizers` ({error}): fetch the model again") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.checksum = sha256(path)
        self.vocab_size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        opening = self._tokenizer.encode("").ids
        self._tokenizer.encode_special_tokens = True
        bos = _token_id(config, "bos")
        # Every document that OPT was trained on begins with </s>; its tokenizer files do not all say so.
        self.opening: list[int] = (
            [bos] if bos is not None and (opening[:1] == [bos] or config["model_type"] == "opt") else []
        )
        pad, eos = _token_id(config, "pad"), _token_id(config, "eos")
        self.padded_with_eos = pad is None
        padding = eos if pad is None else pad
        if padding is None:
            raise Unsuitable(
                f"{folder / 'config.json'} names neither a pad_token_id nor an eos_token_id: rows of different lengths "
                "need one to be filled up with; write it there"
            )
        self.pad_id: int = padding

    def encode(self, prompts: list[str]) -> list[list[int]]:
        """Ids of every prompt, the opening token included, without truncation."""
        encodings = self._tokenizer.encode_batch(prompts, add_special_tokens=False)
        return [self.opening + encoding.ids for encoding in encodings]

    def count(self, text: str) -> int:
        """Tokens of a text by itself."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def cut(self, text: str, tokens: int) -> str:
        """The part of a text that its first tokens cover."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets[:tokens]
        return text[: offsets[-1][1]] if offsets else ""

    def label_ids(self, template: Template) -> list[int]:
        """The token of every label word, where the template puts it.

        Raises:
            Unsuitable: a word is not one token of the vocabulary, or two words begin with the same token.
        """
        # A bare word is a token of its own, also where the vocabulary has one of it and the space before it.
        ending = template.text.rpartition("}")[2] if template.gap else ""
        prompt, *solved = self.encode([ending, *(f"{ending}{template.gap}{word}" for word in template.words)])
        answers = [ids[len(prompt) :] for ids in solved]
        first: dict[int, str] = {}
        for word, answer in zip(template.words, answers):
            if answer and answer[0] in first:
                raise Unsuitable(
                    f"label words {first[answer[0]]!r} and {word!r} begin with the same token, so the model's next "
                    "token cannot tell them apart: use words that begin differently"
                )
            first[answer[0] if answer else -1] = word
        for word, ids, answer in zip(template.words, solved, answers):
            known = ids[: len(prompt)] == prompt and len(answer) == 1
            if not known or self._tokenizer.decode(answer).strip() != word:
                raise Unsuitable(
                    f"label word {word!r} is not a token of this model's vocabulary: use a model whose tokenizer knows "
                    f"{', '.join(map(repr, template.words))} as single tokens"
                )
        return [answer[0] for answer in answers]


def _token_id(config: dict[str, object], role: str) -> int | None:
    """Some models name several ends of a text; -1 is how older ones say that there is none."""
    value = config.get(f"{role}_token_id")
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, int) and first >= 0 else None
