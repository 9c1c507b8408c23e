"""The one exception whose text is meant for the person at the keyboard."""


class FlowerlibError(Exception):
    """Something the user can mend: the message is one line that names the thing and what to do.

    The command line prints it without a traceback and ends with exit status 2.
    """
