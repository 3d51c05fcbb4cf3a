"""The real servers of the quick tests, and their clean environment."""

from long_tests.installed import empty  # noqa: F401
from stockcast_assets_tests.conftest import clean_environment, demo, sample_bars, shared_folder  # noqa: F401
from stockcast_assets_tests.servers import *  # noqa: F403
