"""A row of token ids is the same in training and where there is no PyTorch."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from electralab.deploy.rows import token_row

CLS, SEP = 101, 102
IDS = st.lists(st.integers(200, 300), max_size=40)


def token_by_token(text: list[int], pair: list[int] | None, limit: int) -> tuple[list[int], int]:
    """google-research/bert, `_truncate_seq_pair`: one token at a time from the end of the longer one."""
    first, second = list(text), list(pair or [])
    while len(first) + len(second) > limit - (2 if pair is None else 3):
        (first if len(first) > len(second) else second).pop()
    row = [CLS, *first, SEP]
    return (row, len(row)) if pair is None else ([*row, *second, SEP], len(row))


@given(IDS, st.none() | IDS, st.integers(8, 64))
def test_a_row_is_cut_as_bert_cuts_it(text: list[int], pair: list[int] | None, limit: int) -> None:
    assert token_row(text, pair, CLS, SEP, limit) == token_by_token(text, pair, limit)


def test_no_library_of_the_training_side_is_imported() -> None:
    code = "import sys; sys.modules.update(dict.fromkeys(('torch', 'pydantic', 'transformers', 'pandas')))\n"
    code += "from electralab.deploy.rows import token_row; print(*token_row([7, 8, 9], [4, 5, 6], 1, 2, 8).ids)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("1 7 8 9 2 4 5 2\n", "")
