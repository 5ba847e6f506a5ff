"""Vocabularies learnt from a corpus: BERT's WordPiece and byte-level BPE, the same bytes on every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from electralab.errors import UserError
from electralab.model_files import SPECIAL_TOKENS

PAD, UNKNOWN, CLS, SEPARATOR, MASK = ALL_SPECIAL = list(SPECIAL_TOKENS.values())
LARGEST_ALPHABET = 1000  # unless more characters are needed to cover the text
COVERAGE = 0.9999  # of its characters: what is left out becomes [UNK], with the whole word that it stands in
ENTRIES_OF_A_LETTER = 4  # itself, its form within a word, and two of the pieces that it stands in
SMALLEST_PAIR_COUNT = 2

Documents = Callable[[], Iterable[str]]


def train_wordpiece(documents: Documents, vocab_size: int, lowercase: bool) -> Tokenizer:
    """Learn a WordPiece vocabulary of at most `vocab_size` entries.

    `tokenizers` numbers the continuing characters ("##e") in the order of a hash table, which differs between runs
    and decides ties between merges. Giving it the alphabet and these pieces in sorted order makes it repeatable, at
    the price of reading the documents twice.

    Args:
        documents: called twice; each call starts at the first document.
        vocab_size: entries, special tokens included.
        lowercase: lower-case and strip accents (BERT uncased).

    Raises:
        UserError: there is no text.
    """
    tokenizer = wordpiece({UNKNOWN: 0}, lowercase)
    alphabet = _alphabet(tokenizer, documents(), vocab_size)
    continuing = [f"##{character}" for character in alphabet if _continues_word(tokenizer, character)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=SMALLEST_PAIR_COUNT,
        special_tokens=[*ALL_SPECIAL, *continuing],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents(), trainer=trainer)
    return wordpiece(tokenizer.get_vocab(), lowercase)


def train_byte_level_bpe(documents: Documents, vocab_size: int) -> Tokenizer:
    """Learn a byte-level BPE vocabulary of at most `vocab_size` entries (cased, every text can be restored).

    Args:
        documents: called once.
        vocab_size: entries; the 256 bytes and the special tokens are included.

    Raises:
        UserError: `vocab_size` has no room for the bytes.
    """
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    smallest = len(ALL_SPECIAL) + len(bytes_)
    if vocab_size < smallest:
        raise UserError(f"vocab_size {vocab_size} is too small for byte-level BPE: use at least {smallest}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=SMALLEST_PAIR_COUNT,
        special_tokens=ALL_SPECIAL,
        initial_alphabet=bytes_,
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents(), trainer=trainer)
    tokenizer.post_processor = _cls_and_separators(tokenizer)
    return tokenizer


def wordpiece(vocabulary: dict[str, int], lowercase: bool) -> Tokenizer:
    """BERT's tokenizer over a vocabulary (which holds the special tokens, unless it is about to be trained)."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if CLS in vocabulary:
        tokenizer.add_special_tokens(ALL_SPECIAL)
        tokenizer.post_processor = _cls_and_separators(tokenizer)
    return tokenizer


def _cls_and_separators(tokenizer: Tokenizer) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=f"{CLS}:0 $A:0 {SEPARATOR}:0",
        pair=f"{CLS}:0 $A:0 {SEPARATOR}:0 $B:1 {SEPARATOR}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (CLS, SEPARATOR)],
    )


def _alphabet(tokenizer: Tokenizer, documents: Iterable[str], vocab_size: int) -> list[str]:
    """The most frequent characters of the normalised text, in code-point order.

    An eighth of the vocabulary and at most `LARGEST_ALPHABET`, as is usual for letters. More are taken where they are
    needed for `COVERAGE` and there is room: Chinese has more characters, and every one is a word. A word needs one
    entry, a letter also those of the pieces that it stands in.
    """
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(tokenizer.normalizer.normalize_str(document))
    frequent = sorted((-count, character) for character, count in counts.items() if not character.isspace())
    if not frequent:
        raise UserError("cannot train a tokenizer: the corpus has no training text")
    usual = min(LARGEST_ALPHABET, vocab_size // 8)
    uncovered = -sum(count for count, _ in frequent)
    negligible = uncovered * (1 - COVERAGE)
    room = vocab_size - len(ALL_SPECIAL)
    alphabet: list[str] = []
    for count, character in frequent:
        room -= ENTRIES_OF_A_LETTER if _continues_word(tokenizer, character) else 1
        if len(alphabet) >= usual and (uncovered <= negligible or room < 0):
            break
        alphabet.append(character)
        uncovered += count
    return sorted(alphabet)


def _continues_word(tokenizer: Tokenizer, character: str) -> bool:
    """Whether a character can stand inside a word: not punctuation and not Chinese, which are words of their own."""
    text = tokenizer.normalizer.normalize_str(f"a{character}")
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(text)) == 1
