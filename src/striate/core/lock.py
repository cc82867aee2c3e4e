"""`take`: a file or folder that one process at a time works in; a lock ends with its process, however that ends."""

from __future__ import annotations


def take(descriptor: int) -> bool | None:
    """Lock what an open file descriptor stands for, without waiting; closing the descriptor lets it go.

    Returns
    -------
    bool or None
        True: it is locked now. False: another process holds it, or another descriptor of this one. None: the system (Windows) or
        the file system has no such locks, so that nothing is known of others.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
