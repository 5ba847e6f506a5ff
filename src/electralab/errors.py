"""The one error a user is meant to see."""


class UserError(Exception):
    """A mistake in the config, the data or the machine, told in one line.

    The message says what is wrong, where, and what to do. The command line prints it without a traceback
    (unless ``--debug``) and exits 1.
    """
