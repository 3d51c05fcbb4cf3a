"""The audit for look-ahead: spoil what comes later, and see what moves before.

`worlds` changes inputs after a cut, `mine` calls a function of the user's on them, `platform` makes the platform's own
assets of them, `compare` says what moved.
"""
