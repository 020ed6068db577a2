"""The one exception that a user is meant to read: a sentence, not a traceback.

The sentence says what was found, what was expected and what to do. The command line prints it after
`error: ` and exits with code 1; Ray's wrappers are peeled off by `cluster.trainer`.
"""


class UserError(Exception):
    """A mistake in the input of the user: its text is complete by itself."""
