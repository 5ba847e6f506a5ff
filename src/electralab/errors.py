"""The errors that a user is meant to see, each told in one line."""


class UserError(Exception):
    """A mistake in the config, the data or the machine.

    The message says what is wrong, where, and what to do. The command line prints it without a traceback
    (unless ``--debug``) and exits 1.
    """


class RunFailed(UserError):  # noqa: N818 - it names what became of a run
    """A run that came to nothing by itself: it diverged, or its memory was full.

    It becomes a record with the status `failed` and this reason; other runs go on.
    """


class Unsuitable(UserError):  # noqa: N818
    """A method that cannot be run here: it does not suit its model or task, or a library or device is missing.

    It becomes a record with the status `skipped` and this reason; other runs go on.
    """
