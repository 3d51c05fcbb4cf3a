"""Tests of minutes that need more than Python: each is a target of `make`, none is a part of `make test`."""
