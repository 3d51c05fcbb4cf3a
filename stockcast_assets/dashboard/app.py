"""The script Streamlit runs: the pages and the way between them."""

import streamlit as st

from stockcast_assets.dashboard.layout import ICON, header, page
from stockcast_assets.dashboard.views import card, forecasts, monitoring, risk, trust, universe


def main() -> None:
    """Set the page up and show the one that the address names."""
    st.set_page_config(page_title="stockcast", page_icon=str(ICON), layout="wide")
    first = st.Page(page(forecasts.show), title="Forecasts", url_path="forecasts")

    def home() -> None:
        # Streamlit serves its default page at / only; every page here has an address of its own.
        st.switch_page(first, query_params=st.query_params.to_dict())

    pages = [
        first,
        st.Page(page(trust.show), title="Trust", url_path="trust"),
        st.Page(page(card.show), title="Card", url_path="card"),
        st.Page(page(monitoring.show), title="Monitoring", url_path="monitoring"),
        st.Page(page(universe.show), title="Universe", url_path="universe"),
        st.Page(page(risk.show), title="Risk", url_path="risk"),
    ]
    # Streamlit's own menu hides behind an icon on a phone.
    chosen = st.navigation([st.Page(home, title="stockcast", default=True), *pages], position="hidden")
    header(pages)
    chosen.run()


main()
