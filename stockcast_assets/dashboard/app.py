"""The script Streamlit runs: four pages and the way between them."""

import streamlit as st

from stockcast_assets.dashboard.layout import page
from stockcast_assets.dashboard.views import forecasts, monitoring, trust, universe


def main() -> None:
    """Set the page up and show the one that the address names."""
    st.set_page_config(page_title="stockcast", page_icon=":material/monitoring:", layout="wide")
    chosen = st.navigation(
        [
            st.Page(page(forecasts.show), title="Forecasts", url_path="forecasts", default=True),
            st.Page(page(trust.show), title="Trust", url_path="trust"),
            st.Page(page(monitoring.show), title="Monitoring", url_path="monitoring"),
            st.Page(page(universe.show), title="Universe", url_path="universe"),
        ],
        position="top",
    )
    chosen.run()


main()
